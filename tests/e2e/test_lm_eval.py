"""lm_eval gives the same answers and verdicts as the trainer's ids and the reward."""

import json
import shlex
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.config import read_config
from axolotl_grpo_plugin.evaluation.lm_eval import export
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.generation.rows import questions
from axolotl_grpo_plugin.generation.sampling import Sampling
from axolotl_grpo_plugin.load import RewardRef, load_reward, reward_refs
from axolotl_grpo_plugin.stats.rows import sources
from axolotl_grpo_plugin.stats.tokenizer import AxolotlTokenizer
from tests.e2e.conftest import ROOT, environment

KINDS = [
    "<reasoning>\nwork\n</reasoning>\n<answer>\n{gold}\n</answer>",
    "<answer>{gold}0</answer>",
    "<reasoning>\nwork\n</reasoning>\n<answer>\n{gold}",  # truncated
    "The answer is {gold}.",
    "<answer>{gold} or 7</answer>",
]


def config(name="quickstart", **changes):
    cfg = read_config(ROOT / "configs" / f"{name}.yaml", changes)
    paths.resolve_packaged(cfg)
    return cfg


def load(folder):
    spec = spec_from_file_location("task", folder / "task.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exported(cfg, number, reward, folder, samples=0):
    """Export one of the config's datasets. Return its rows, and the command that runs the task."""
    tokenizer = AxolotlTokenizer(cfg, Path(cfg["base_model"]))
    rows, _ = questions(cfg, [sources(cfg)[number]], tokenizer)
    sampling = Sampling.of(cfg)
    return rows, export(cfg, rows, tokenizer, reward, folder, sampling, samples)


def test_exported_task_gives_the_verdicts_of_the_reward(tmp_path):
    cfg = config()
    ref = reward_refs(cfg)[0]
    rows, _ = exported(cfg, 1, ref, tmp_path)
    task, judge = load(tmp_path), load_reward(ref)
    docs = task.rows(version=1)["test"]
    assert len(docs) == len(rows) == 234
    values = []
    for doc, row in zip(docs.select(range(10)), rows, strict=False):
        assert row.prompt[0]["content"] in doc["prompt"]
        for kind in KINDS:
            completion = kind.format(gold=row.columns["answer"])
            values.append(judge.score(completion, answer=row.columns["answer"]).value)
            right = float(values[-1] == 2.0)
            metrics = task.process_results(doc, [[completion]])
            assert metrics == {"reward": values[-1], "pass@1": right}
    assert len(values) == 50 and values.count(2.0) == 10


def test_several_samples_take_the_sampling_of_the_config(tmp_path):
    cfg = config(trl__top_p=0.9, trl__temperature=0.7)
    exported(cfg, 1, reward_refs(cfg)[0], tmp_path, samples=4)
    (file,) = tmp_path.glob("*.yaml")
    made = yaml.safe_load(file.read_text().replace("!function", ""))
    sampling = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0}
    others = {"repetition_penalty": 1.0, "max_gen_toks": 32, "until": []}
    assert made["generation_kwargs"] == sampling | others and made["repeats"] == 4
    assert [each["metric"] for each in made["metric_list"]] == ["reward", "pass@1", "pass@4"]
    task = load(tmp_path)
    doc = task.rows()["test"][0]
    right = KINDS[0].format(gold=json.loads(doc["columns"])["answer"])
    metrics = {"reward": 0.5, "pass@1": 0.25, "pass@4": 1.0}
    assert task.process_results(doc, [["no", right, "", "6 7"]]) == metrics
    bad = {"prompt": "?", "columns": json.dumps({"answer": "many"})}
    assert task.process_results(bad, [["1"] * 4]) == {}  # counts in no mean


CORRECT = {"by": "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"}
REFUSED = [
    ("countdown.equation_reward_func", {}, "no row has its columns (nums, target)"),
    ("shaping.kimi_length", CORRECT, "scores whole batches"),
    ("shaping.cosine_length", CORRECT | {"max_len": 32}, "reads token ids"),
]


@pytest.mark.parametrize(("path", "arguments", "problem"), REFUSED)
def test_refuses_a_reward_that_cannot_judge_the_rows(tmp_path, path, arguments, problem):
    cfg = config("countdown/mixed-gsm8k")
    reward = RewardRef.of(f"axolotl_grpo_plugin.rewards.{path}", arguments)
    with pytest.raises(ConfigError) as error:
        exported(cfg, 3, reward, tmp_path)
    assert str(error.value).startswith(f"--export-lm-eval: {reward.key}: ")
    assert problem in str(error.value)


@pytest.mark.slow
def test_lm_eval_gives_the_answers_of_a_plain_loop_and_the_ids_of_the_trainer(tmp_path):
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.utils import simple_parse_args_string
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tmp_path / "model"
    shutil.copytree(config()["base_model"], model)
    # Like Llama's, this tokenizer begins each text with a BOS token. The template writes none.
    bos = Tokenizer.from_file(str(model / "tokenizer.json"))
    single, special = "<|endoftext|> $A", [("<|endoftext|>", 0)]
    bos.post_processor = TemplateProcessing(single=single, special_tokens=special)
    bos.save(str(model / "tokenizer.json"))
    cfg = config(base_model=str(model))
    ref, folder = reward_refs(cfg)[0], tmp_path / "task"
    rows, command = exported(cfg, 1, ref, folder)
    command = shlex.split(command)

    ran = subprocess.run([*command, "--limit", "16"], env=environment(), capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (logged,) = folder.glob("results/*/samples_*.jsonl")
    answers = sorted(map(json.loads, logged.read_text().splitlines()), key=lambda each: each["doc_id"])
    assert len(answers) == 16

    tokenizer = AutoTokenizer.from_pretrained(model)
    trained = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    assert tokenizer("9").input_ids[0] == 0
    model_args = simple_parse_args_string(command[command.index("--model_args") + 1])
    lm = HFLM(**model_args, device="cpu")
    right = 0
    for row, answer in zip(rows, answers, strict=False):
        encoded = tokenizer.apply_chat_template(
            row.prompt, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        ids = encoded["input_ids"]
        assert ids[0].tolist() == row.ids
        assert torch.equal(ids, lm.tok_batch_encode([answer["doc"]["prompt"]])[0])
        made = trained.generate(**encoded, max_new_tokens=32, do_sample=False)[0, ids.shape[1] :]
        text = tokenizer.decode(made, skip_special_tokens=True)
        assert answer["resps"] == [[text]]
        value = load_reward(ref).score(text, answer=row.columns["answer"]).value
        assert (answer["reward"], answer["pass@1"]) == (value, float(value == 2.0))
        right += answer["pass@1"]
    assert 0 < right < 16
