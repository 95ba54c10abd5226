"""`axolotl-grpo eval` and `passrate` with real models: equal to a plain loop, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import time

import psutil
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from tests.e2e.conftest import ROOT, axolotl, environment, finish, kill, shipped_config, write

MODEL = ROOT / "axolotl_grpo_plugin/quickstart/model"
UNDISTURBED = "limit=48,samples=4"
HELD_OUT = ROOT / "axolotl_grpo_plugin/quickstart/held_out.jsonl"


def configure(folder, **changes):
    return write(folder, shipped_config(output_dir=str(folder / "out"), **changes))


@pytest.fixture
def config(tmp_path):
    return configure(tmp_path)


def answers(folder):
    """Return the stored rows by (model, mode, row, sample). Each is stored once."""
    rows = [row for file in rollout_files(folder / "answers").counted for row in read(file)]
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
    config = configure(tmp_path, special_tokens={"eos_token": "<|im_start|>"})
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
        verdicts.append(correctness_reward_func.score(text, answer=row["column/answer"]).value == 2.0)
    (result,) = results(tmp_path / "out/eval/limit=40,max_tokens=18,samples=0")[0]
    right = result["rewards"]["correctness_reward_func"]["right"]
    assert right["mean"] == pytest.approx(sum(verdicts) / len(verdicts))


def results(folder):
    parts = json.loads((folder / "eval.json").read_text())["parts"]
    return tuple([found for part in parts for found in part[kind]] for kind in ("results", "differences"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of an evaluation that nothing interrupted, with one large batch."""
    folder = tmp_path_factory.mktemp("undisturbed")
    axolotl("grpo", "eval", configure(folder), "--limit", 48, "--samples", 4)
    return results(folder / "out/eval" / UNDISTURBED)


def test_killed_evaluation_goes_on_and_ends_with_the_same_table(config, tmp_path, undisturbed):
    command = ["grpo", "eval", config, "--limit", 48, "--samples", 4, "--batch-size", 8]
    folder = tmp_path / "out/eval"
    ended = kill(*command, when=lambda: len(list(folder.glob("answers/*.parquet"))) >= 5)
    assert ended.returncode == -signal.SIGKILL
    stored = len(answers(folder))
    assert 40 <= stored < 48 * 5
    axolotl(*command)
    assert len(answers(folder)) == 48 * 5
    assert results(folder / UNDISTURBED) == undisturbed


@pytest.fixture
def run(tmp_path):
    """An output_dir with a card, and a model that equals its last checkpoint."""
    from safetensors.torch import load_file, save_file

    for folder in (tmp_path / "out", tmp_path / "out/checkpoint-20"):
        shutil.copytree(MODEL, folder)
        file = folder / "model.safetensors"
        weights = {name: 0.9 * value for name, value in load_file(file).items()}
        save_file(weights, file, {"format": "pt"})
    (tmp_path / "out/README.md").write_text("---\nmodel_name: mine\n---\n\n# mine\n")
    return tmp_path / "out"


def test_equal_weights_keep_their_labels_and_repeated_rows_count_once(config, run, tmp_path):
    rows = HELD_OUT.read_text().splitlines(keepends=True)[:12]
    (tmp_path / "rows.jsonl").write_text("".join(rows * 3))
    words = ["--data", "rows.jsonl", "--samples", 0]
    printed = axolotl("grpo", "eval", config, "--checkpoints", "all", *words, cwd=tmp_path)
    place = "data=rows.jsonl,samples=0"
    found, _ = results(run / "eval" / place)
    assert [(result["model"], result["step"]) for result in found] == [
        ("base", 0),
        ("checkpoint-20", 20),
        ("trained", None),
    ]
    assert found[1]["rewards"] == found[2]["rewards"] and {result["rows"] for result in found} == {12}
    assert len(answers(run / "eval")) == 24
    keys = [row["key"] for row in read(run / "eval" / place / "scores.parquet")]
    assert (len({*keys}), len(keys)) == (24, 36)
    assert "checkpoint-20 and trained have equal weights" in printed
    assert "Rows left out, because they repeat the prompt of another row: 24." in printed
    assert "rows.jsonl, greedy: 12 rows" in printed
    assert f"evaluation in {place}" in (run / "README.md").read_text()


def test_quick_evaluation_leaves_the_full_one_as_it_is(config, run):
    axolotl("grpo", "eval", config, "--samples", 0)
    files = [run / "README.md", run / "eval/samples=0/eval.json"]
    full = [file.read_text() for file in files]
    assert "greedy, max_tokens 32, stop () (233 rows" in full[0]
    printed = axolotl("grpo", "eval", config, "--samples", 0, "--limit", 13)
    assert [file.read_text() for file in files] == full and "limit=13,samples=0" in printed
    assert "Rows with a prompt of the training data: 1." in printed  # the thirteenth


def test_pass_rates_make_a_dataset_that_a_config_trains_on(config, tmp_path):
    words = ["--limit", 60, "--samples", 8, "--keep", "0.1:0.9", "--out", tmp_path / "rates"]
    printed = axolotl("grpo", "passrate", config, *words)
    assert "impossible" in printed and "perfect" in printed
    kept = tmp_path / "rates" / "kept.parquet"
    rows = pq.read_table(kept).to_pylist()
    assert 0 < len(rows) < 60
    assert all(0.1 <= row["pass_rate"] <= 0.9 and row["n"] == 8 for row in rows)
    datasets = [{"path": str(kept), "ds_type": "parquet", "split": "train", "type": "axolotl_grpo_plugin.gsm8k"}]
    own = configure(tmp_path, datasets=datasets, test_datasets=None, grpo_held_out_rows=None, grpo_rollouts=True)
    axolotl("train", own, "--max-steps", 1)
    (log,) = tmp_path.glob("out/rollouts/train/*.parquet")
    printed = axolotl("grpo", "passrate", own, "--from-rollouts", log)
    assert "8 rows" in printed  # 64 rollouts of one step are 8 prompt groups


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
    words = ["grpo", "eval", configure(tmp_path, vllm=serving), "--model", MODEL, "--model", adapter]
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
    axolotl(*words, "--engine", "transformers", "--samples", 0, "--out", tmp_path / "plain")
    plain = answers(tmp_path / "plain")
    equal = [served[key]["completion_ids"] == row["completion_ids"] for key, row in plain.items()]
    assert len(equal) == 200 and sum(equal) >= 196  # float32 sums differ in their order


@pytest.mark.parametrize(
    "words, changes, message",
    [
        (["--model", "adapter"], {}, "cannot be loaded: RuntimeError"),
        ([], {"test_datasets": None}, "test_datasets: no rows. Add test_datasets, or name rows"),
        (["--data", "gsm9k"], {}, "--data gsm9k: no such file or benchmark. Did you mean `gsm8k`?"),
        (["--data", "question.jsonl"], {}, "answer"),
        (["--temperature", 0], {}, "equal samples, because the temperature is 0"),
        ([], {"rl": "dpo"}, "not grpo or gdpo. Set rl: grpo"),
    ],
)
def test_bad_input_ends_in_one_line(words, changes, message, adapter, tmp_path):
    (tmp_path / "question.jsonl").write_text('{"question": "1+1?"}\n')
    of_adapter = adapter / "adapter_config.json"
    of_adapter.write_text(of_adapter.read_text().replace('"r": 8', '"r": 4'))  # the weights have another size
    config = configure(tmp_path, **changes)
    printed = axolotl("grpo", "eval", config, *words, "--limit", 4, cwd=tmp_path, returncode=1)
    assert message in printed
    assert "Traceback" not in printed
