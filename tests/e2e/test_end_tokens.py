"""A model with two end tokens, which writes the second, stops: in TRL's trainer, and with each backend of `eval`.

The quickstart's model ends its answers with <|im_end|>. Here its tokenizer's EOS token is one that it never writes.
"""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.generation.answers import Job
from axolotl_grpo_plugin.generation.generate import answer_of
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.generation.sampling import Sampling
from tests.conftest import MODEL
from tests.e2e.conftest import shipped_config, write

pytestmark = [pytest.mark.seconds(60), pytest.mark.xdist_group("tests/e2e/test_tools_in_trl.py")]

ROWS = [{"prompt": [{"role": "user", "content": "What is 2 + 2?"}]}] * 16
EOS, END, LIMIT = 1, 2, 24  # <|im_start|>, <|im_end|>, and tokens per completion


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL, eos_token="<|im_start|>")


@pytest.fixture
def trainer_of(tokenizer, tmp_path):
    """Return a function that makes TRL's trainer. declared: the end tokens that the model names."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, set_seed
    from trl import GRPOConfig, GRPOTrainer

    from axolotl_grpo_plugin.training.end_tokens import stop_at_end_tokens

    def make(declared, stops=True, limit=LIMIT, processing_class=tokenizer, **more):
        set_seed(1)
        model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
        model.generation_config.eos_token_id = declared
        args = GRPOConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=16,
            num_generations=16,
            max_completion_length=limit,
            mask_truncated_completions=True,
            report_to=[],
            use_cpu=True,
            bf16=False,
            **more,
        )
        data = Dataset.from_list(ROWS)
        trainer = GRPOTrainer(model, [length], args, data, processing_class=processing_class)
        if stops:
            stop_at_end_tokens({}, trainer)
        trainer.model.train()
        return trainer

    return make


@contextmanager
def steps_counted():
    """Yield a list that gets an entry for each pass through a model, which writes a token of each completion."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    steps = []
    handle = register_module_forward_pre_hook(
        lambda module, _: steps.append(1) if type(module).__name__ == "LlamaForCausalLM" else None
    )
    yield steps
    handle.remove()


def length(completion_ids, **_):
    """Return another reward for each length, so that groups teach."""
    return [float(len(ids)) for ids in completion_ids]


def batch_of(trainer):
    """Generate a batch. Return the tokens, those that are trained on, and the ratio of cut completions."""
    import torch

    with torch.no_grad():
        batch = trainer._generate_and_score_completions(ROWS)
    ids = batch["completion_ids"].tolist()
    masks = batch["completion_mask"].tolist()
    trained = [[token for token, kept in zip(*pair, strict=True) if kept] for pair in zip(ids, masks, strict=True)]
    return ids, trained, trainer._metrics["train"]["completions/clipped_ratio"][-1]


@pytest.mark.parametrize("declared", [[EOS, END], END, EOS], ids=["list", "other than the tokenizer's", "template"])
def test_training_stops_at_the_first_of_all_end_tokens(trainer_of, declared):
    trainer = trainer_of(declared)
    with steps_counted() as steps:
        ids, trained, cut = batch_of(trainer)
    assert cut == 0.0 and len(steps) == max(map(len, trained)) < LIMIT  # the generation itself stops
    assert all(row[-1] == END and END not in row[:-1] for row in trained)
    assert all(not any(row[len(own) :]) for row, own in zip(ids, trained, strict=True))  # only padding follows


def test_trl_alone_stops_at_the_tokenizers_token_only(trainer_of):
    ids, trained, cut = batch_of(trainer_of([EOS], stops=False))
    assert cut == 1.0 and not any(trained)
    assert {len(row) for row in ids} == {LIMIT} and sum(END in row for row in ids) > 8


def test_completion_without_an_end_token_is_still_cut(trainer_of):
    ids, trained, cut = batch_of(trainer_of([EOS, END], limit=7))
    ended = [END in row for row in ids]
    assert 0 < sum(ended) < 16 and cut == pytest.approx(1 - sum(ended) / 16)
    assert [bool(row) for row in trained] == ended


def test_rollout_log_counts_each_end_token_as_an_end(trainer_of, tmp_path):
    import pandas as pd

    from axolotl_grpo_plugin.scoring.runner import RewardRunner

    reward = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
    cfg = {"trl": {"reward_funcs": [reward]}, "grpo_reward_isolation": "inline"}
    trainer = trainer_of([EOS, END], limit=7)
    runner = RewardRunner({**cfg, "grpo_rollouts": str(tmp_path / "log")})
    trainer.reward_funcs, trainer.reward_func_names = [runner.reward_func(reward)], ["int_reward_func"]
    runner.wrap_trainer(trainer)
    ids, _, cut = batch_of(trainer)
    runner.close()
    logged = pd.read_parquet(tmp_path / "log")
    assert logged["truncated"].tolist() == [END not in row for row in ids]
    assert logged["truncated"].mean() == pytest.approx(cut)


def test_vllm_is_asked_to_stop_at_each_end_token_and_such_an_answer_has_ended(trainer_of):
    from trl.generation.vllm_generation import VLLMGeneration

    from axolotl_grpo_plugin.training.end_tokens import stop_at_end_tokens

    trainer, asked = trainer_of([EOS, END], stops=False), []

    def generate(prompts, n, generation_kwargs, **_):
        asked.append(generation_kwargs)
        ids = [[20, END]] * n
        return {"prompt_ids": prompts, "completion_ids": ids, "logprobs": [[[-0.1], [-0.1]]] * n}

    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_completion_length")
    vllm = VLLMGeneration.__new__(VLLMGeneration)
    vars(vllm).update({name: getattr(trainer, name) for name in names})
    vllm.mode, vllm.accelerator, vllm.logprobs, vllm.structured_outputs_regex = "server", trainer.accelerator, 0, None
    vllm.vllm_client, vllm.generation_kwargs = SimpleNamespace(generate=generate), {"seed": 3}
    vllm.sync_weights = lambda: None
    trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, vllm, -1
    trainer.vllm_importance_sampling_correction = False
    stop_at_end_tokens({"grpo_trl_args": {"generation_kwargs": {"stop_token_ids": [9]}}}, trainer)
    _, trained, cut = batch_of(trainer)
    assert asked == [{"seed": 3, "stop_token_ids": [EOS, END, 9]}]
    assert trained == [[20, END]] * 16 and cut == 0.0


def test_answers_of_tools_begin_where_they_did(trainer_of, tokenizer):
    """GLM ends turns with the token that begins the next one, and TRL cuts chats at the tokenizer's token."""
    from copy import deepcopy
    from importlib.util import find_spec

    glm = deepcopy(tokenizer)
    glm.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", "<|observation|>"]})
    templates = Path(find_spec("trl").origin).parent / "chat_templates"
    glm.chat_template = (templates / "glm4moe.jinja").read_text()
    ends = [EOS, *glm.convert_tokens_to_ids(["<|user|>", "<|observation|>"])]
    answer = [{"role": "tool", "name": "add", "content": "4"}]
    suffixes = [
        trainer_of(ends, stops=stops, processing_class=glm)._get_tool_suffix_ids(answer) for stops in (False, True)
    ]
    assert suffixes[0] == suffixes[1] and "4" in glm.decode(suffixes[1])


def jobs(tokenizer, ends):
    ids = tokenizer.apply_chat_template(ROWS[0]["prompt"], add_generation_prompt=True, return_dict=False)
    question = Question("rows", 0, {}, {}, ROWS[0]["prompt"], ids)
    sampling = Sampling(temperature=0.0, max_tokens=LIMIT, ends=ends)
    return [Job.of(Model("base", MODEL, None, 0, "d"), question, sampling, 0, "cpu")]


def test_transformers_stops_at_each_end_token(tokenizer):
    from axolotl_grpo_plugin.generation.local import LocalBackend

    backend = LocalBackend({}, tokenizer, 4)
    backend.load(Model("base", MODEL, None, 0, "d"))
    for ends in ((EOS, END), (EOS,)):
        with steps_counted() as steps:
            (batch,) = backend.generate(jobs(tokenizer, ends))
        ((job, ids),) = batch
        answer = answer_of(ids, job, tokenizer)
        assert answer.truncated == (END not in ends) and len(steps) == len(ids)
        assert (ids.index(END) + 1 == len(ids)) == (END in ends)


class Server(BaseHTTPRequestHandler):
    """Answers as vLLM does, and keeps what it was asked in its server's list."""

    def do_POST(self):
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        choice = {"index": 0, "text": "4", "finish_reason": "stop", "token_ids": [20] * (LIMIT - 1) + [END]}
        body = json.dumps({"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def test_vllms_server_is_asked_to_stop_at_each_end_token(tokenizer, tmp_path):
    from axolotl_grpo_plugin.generation.vllm import VllmBackend

    server = HTTPServer(("127.0.0.1", 0), Server)
    server.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    backend = VllmBackend({}, [], tmp_path, f"127.0.0.1:{server.server_port}", 99)
    (((job, ids),),) = backend.generate(jobs(tokenizer, (EOS, END)))
    server.shutdown()
    server.server_close()
    assert server.asked[0]["stop_token_ids"] == [EOS, END]
    assert not answer_of(ids, job, tokenizer).truncated


def test_eval_takes_the_end_tokens_of_the_configs_model(tmp_path):
    from axolotl_grpo_plugin.commands.session import Options, Session

    config = shipped_config(output_dir=str(tmp_path / "out"), special_tokens={"eos_token": "<|im_start|>"})
    session = Session(str(write(tmp_path, config)), Options(limit=2), "test_datasets", "eval", evaluates=True)
    assert [sampling.ends for sampling, _ in session.plans] == [(EOS, END)] * 2
