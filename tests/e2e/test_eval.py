"""`axolotl grpo eval` and `passrate` with real models: equal to a plain loop, and nothing is lost."""

import json
import os
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from axolotl_grpo_plugin import rollouts
from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from tests.e2e.conftest import ROOT, axolotl, curves, environment, finish, kill, shipped_config, train, write

MODEL = ROOT / "axolotl_grpo_plugin/quickstart/model"
HELD_OUT = ROOT / "axolotl_grpo_plugin/quickstart/held_out.jsonl"


@pytest.fixture
def config(tmp_path):
    return write(tmp_path, shipped_config(output_dir=str(tmp_path / "out")))


def answers(folder):
    """Return the stored rows by (model, mode, row, sample). Each is stored once."""
    rows = [row for file in rollouts.files_of(folder / "answers") for row in rollouts.read(file)]
    found = {tuple(row[name] for name in ("model", "mode", "row", "sample")): row for row in rows}
    assert len(found) == len(rows)
    return found


def plain_answers(folder, prompts, tokens):
    """Return the ids of each prompt and of its greedy completion, one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        output = model.generate(**ids, max_new_tokens=tokens, do_sample=False)
        yield output[0, ids["input_ids"].shape[1] :].tolist(), tokenizer


def test_greedy_answers_equal_a_plain_transformers_loop(tmp_path):
    # The model itself names the token that ends its answers, <|im_end|>.
    tokens = {"eos_token": "<|im_start|>"}
    config = write(tmp_path, shipped_config(output_dir=str(tmp_path / "out"), special_tokens=tokens))
    # Some answers end at the limit.
    axolotl("grpo", "eval", config, "--samples", 0, "--limit", 40, "--max-tokens", 18)
    found = answers(tmp_path / "out/eval")
    prompts = [row["prompt"] for row in found.values()]
    verdicts = []
    for row, (ids, tokenizer) in zip(found.values(), plain_answers(MODEL, prompts, 18), strict=True):
        assert row["completion_ids"] == ids
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert row["completion"] == [{"role": "assistant", "content": text}]
        assert row["truncated"] == (ids[-1] != tokenizer.eos_token_id)
        verdicts.append(correctness_reward_func.score(text, answer=row["answer"]).value == 2.0)
    (result,) = json.loads((tmp_path / "out/eval/eval.json").read_text())["results"]
    (right,) = [each["right"] for name, each in result["rewards"].items() if "correct" in name]
    assert right["mean"] == pytest.approx(sum(verdicts) / len(verdicts))
    scored = {row["key"]: row for row in rollouts.read(tmp_path / "out/eval/scores.parquet")}
    (name,) = [name for name in result["rewards"] if "correct" in name]
    scores = [scored[row["key"]][f"reward/{name}"] for row in found.values()]
    assert [score == 2.0 for score in scores] == verdicts


def results(folder):
    summary = json.loads((folder / "eval.json").read_text())
    return summary["results"], summary["differences"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of an evaluation that nothing interrupted, with one large batch."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = write(folder, shipped_config(output_dir=str(folder / "out")))
    axolotl("grpo", "eval", file, "--limit", 48, "--samples", 4)
    return results(folder / "out/eval")


def test_killed_evaluation_goes_on_and_ends_with_the_same_table(config, tmp_path, undisturbed):
    command = ["grpo", "eval", config, "--limit", 48, "--samples", 4, "--batch-size", 8]
    folder = tmp_path / "out/eval"
    ended = kill(*command, when=lambda: len(list(folder.glob("answers/*.parquet"))) >= 5)
    assert ended.returncode == -signal.SIGKILL
    stored = len(answers(folder))
    assert 40 <= stored < 48 * 5
    axolotl(*command)
    assert len(answers(folder)) == 48 * 5
    assert results(folder) == undisturbed


def test_shards_merge_to_the_table_of_one_run(config, tmp_path, undisturbed):
    command = ["grpo", "eval", config, "--limit", 48, "--samples", 4]
    printed = axolotl(*command, "--shard", "2/2")
    assert "Shard 2/2: all 120 answers" in printed
    printed = axolotl(*command, "--merge", returncode=1)
    assert "base lacks 120 answers to 24 rows (the first is row 0). Run the shards" in printed
    axolotl(*command, "--shard", "1/2")
    axolotl(*command, "--merge")
    assert results(tmp_path / "out/eval") == undisturbed


def test_pass_rates_make_a_dataset_that_a_config_trains_on(config, tmp_path):
    kept = tmp_path / "kept.jsonl"
    words = ["--limit", 60, "--samples", 8, "--keep", "0.1:0.9", "--out", kept]
    printed = axolotl("grpo", "passrate", config, *words)
    assert "impossible" in printed and "perfect" in printed
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert 0 < len(rows) < 60
    assert all(0.1 <= row["pass_rate"] <= 0.9 and row["n"] == 8 for row in rows)
    assert (tmp_path / "out/passrate/passrate.png").read_bytes().startswith(b"\x89PNG")
    own = shipped_config(output_dir=str(tmp_path / "next"), grpo_rollouts=True)
    own["datasets"][0]["path"] = str(kept)
    own |= {"test_datasets": None, "grpo_held_out_rows": None}
    (tmp_path / "next.yaml").write_text(json.dumps(own))
    axolotl("train", tmp_path / "next.yaml", "--max-steps", 1)
    printed = axolotl("grpo", "passrate", tmp_path / "next.yaml", "--from-rollouts", tmp_path / "next")
    assert "8 rows" in printed  # 64 rollouts of one step are 8 prompt groups


def test_held_out_rows_are_answered_every_so_many_steps_of_a_training(tmp_path):
    own = shipped_config(grpo_held_out_rows=16, grpo_eval_steps=2)
    train(write(tmp_path, own), tmp_path / "out", steps=5)
    lines = (tmp_path / "out/held_out.jsonl").read_text().splitlines()
    assert Counter(json.loads(line)["when"] for line in lines) == dict.fromkeys(
        ["before", "step 2", "step 4", "after"], 32
    )
    name = "held_out/greedy/correctness_reward_func"
    logged = curves(tmp_path / "out")
    assert len(logged[f"{name}/right"]) == len(logged[f"{name}/mean"]) == 4
    assert len(logged["reward"]) == 5


@pytest.fixture
def adapter(tmp_path):
    """A LoRA adapter on the embedded model, with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    lora = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), lora).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.slow  # vLLM starts twice, for a minute or more
def test_vllm_goes_on_after_its_server_died_and_answers_as_transformers(vllm, adapter, tmp_path):
    serving = {"dtype": "float32", "gpu_memory_utilization": 0.3, "max_model_len": 128}
    file = write(tmp_path, shipped_config(output_dir=str(tmp_path / "out"), vllm=serving))
    words = ["grpo", "eval", str(file), "--model", str(MODEL), "--model", str(adapter)]
    words += ["--samples", "2", "--limit", "100"]

    def serve():
        path = f"{vllm.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [vllm, "-m", "axolotl.cli.main", *words, "--engine", "vllm"],
            env=environment(PATH=path, VLLM_CPU_KVCACHE_SPACE="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    process, folder = serve(), tmp_path / "out/eval"
    while not list(folder.glob("answers/*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    for child in psutil.Process(process.pid).children(recursive=True):
        if "serve" in child.cmdline():
            child.kill()
    printed = finish(process, 1)
    assert "vLLM's server was ended while it answered by signal 9" in printed
    assert "Traceback" not in printed
    assert 64 <= len(answers(folder)) < 600
    printed = finish(serve())
    assert printed.count("vLLM starts with") == 1  # one server for base and adapter
    served = answers(folder)
    assert len(served) == 600
    axolotl(*words, "--engine", "transformers", "--samples", 0, "--dest", tmp_path / "plain")
    plain = answers(tmp_path / "plain")
    equal = [served[key]["completion_ids"] == row["completion_ids"] for key, row in plain.items()]
    assert len(equal) == 200 and sum(equal) >= 196  # float32 sums differ in their order


def adapter_of_another_base(folder):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    adapted = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=4, target_modules=["q_proj"]))
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (["--model", "no/such/folder"], {}, "--model no/such/folder: no such folder."),
        (["--model", "{adapter}"], {}, "cannot be loaded: RuntimeError"),
        ([], {"test_datasets": None}, "test_datasets: no rows. Add test_datasets, or name rows"),
        (["--data", "gsm9k"], {}, "--data gsm9k: no such file or benchmark. Did you mean `gsm8k`?"),
        (["--data", "{empty}"], {}, "an empty file. Check the program that wrote it"),
        (["--data", "{without_gold}"], {}, "answer"),
        (["--temperature", 0], {}, "equal samples, because the temperature is 0"),
        ([], {"rl": "dpo"}, "'dpo' is not supported here. Set rl: grpo"),
    ],
)
def test_bad_input_ends_in_one_line(words, changes, message, tmp_path):
    files = {"empty": tmp_path / "empty.jsonl", "without_gold": tmp_path / "question.jsonl"}
    files["empty"].touch()
    files["without_gold"].write_text('{"question": "1+1?"}\n')
    if "{adapter}" in words:
        files["adapter"] = adapter_of_another_base(tmp_path / "adapter")
    file = write(tmp_path, shipped_config(output_dir=str(tmp_path / "out"), **changes))
    words = [str(word).format(**files) for word in words]
    printed = axolotl("grpo", "eval", file, *words, "--limit", 4, returncode=1)
    assert message in printed
    assert "Traceback" not in printed
