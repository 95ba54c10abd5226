"""The 83 mistakes of three newcomers' first evening: each ends in one clear line, before anything slow starts.

The commands run in this process. Ten of them also run as a process of their own.
"""

import json
import socket
import subprocess
import sys

import pytest

from tests.conftest import invoke, write_rows
from tests.e2e.conftest import ROOT, environment, shipped_config, write
from tests.viewer.data import write_run

GSM8K = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(20)]
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
FORM = "q,a\n" + "".join(f"{n} + 1?,{n + 1}\n" for n in range(20))
OPENR1 = """
model_name_or_path: Qwen/Qwen2.5-1.5B-Instruct
dataset_name: open-r1/OpenR1-Math-220k
num_train_epochs: 1
reward_funcs: [accuracy, format]
use_vllm: true
"""
FILES = {
    "openr1.yaml": OPENR1,
    "train_grpo.py": 'from trl import GRPOTrainer\n\nargs = GRPOConfig(output_dir="x")\n',
    "semi.csv": FORM.replace(",", ";"),
    "x.tsv": FORM.replace(",", "\t"),
    "x.xlsx": "no zip",
    "ok.txt": "".join(json.dumps(row) + "\n" for row in GSM8K),
    "e.jsonl": "",
    "crlf.jsonl": "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in GSM8K),
    "tab.yaml": "rl: grpo\ntrl:\n\tbeta: 0.0\n",
    "twice.yaml": "rl: grpo\nseed: 1\nseed: 2\n",
    "list.yaml": "- rl: grpo\n",
    "empty.yaml": "",
    "dict.json": json.dumps({"version": 1, "data": GSM8K}),
    "bad.py": "def fn(prompts, completions, **columns)\n    return []\n",
    "mine.py": """
import math, re, sys, time
from axolotl_grpo_plugin.reward import reward

def rows(cfg, **_):
    return lambda row: {"prompt": [{"role": "user", "content": row["question"]}]}

def number(prompts, completions, **columns):
    return 1.0

class Half:
    __name__ = "half"
    def __call__(self, prompts, completions, **columns):
        return [0.5 for _ in completions]

def chats(prompts, completions, **columns):
    return [1.0 if "<answer>" in completion else 0.0 for completion in completions]

@reward(range=(0.0, 1.0), reads="nums")
def absent(completion, nums):
    return 1.0

def soft_format(prompts, completions, **columns):
    pattern = r"<reasoning>.*?</reasoning>\\s*<answer>.*?</answer>"
    return [0.5 if re.match(pattern, each[0]["content"]) else 0.0 for each in completions]

def exits(prompts, completions, **columns):
    sys.exit(3)

def nan(prompts, completions, **columns):
    return [math.nan for _ in completions]

def loops(prompts, completions, **columns):
    while True:
        time.sleep(0.01)
""",
}
ROWS = {
    "rows.jsonl": GSM8K,
    "ok.jsonl": [{"q": f"{n} + 1?", "a": n + 1} for n in range(20)],
    "mmlu.jsonl": [
        {"question": f"Which is {n}?", "choices": [str(n), str(n + 1), "x", "y"], "answer": 0} for n in range(20)
    ],
    "extract.jsonl": [
        {"messages": [{"role": "user", "content": f"Ann is {n}."},
                      {"role": "assistant", "content": json.dumps({"name": "Ann", "age": n})}]} for n in range(20)
    ],
    "units.jsonl": [
        {"system": "You convert units.", "question": f"{n} m in cm?", "answer": n * 100, "unit": "cm"} for n in range(20)
    ],
    "bl.jsonl": [*GSM8K, '{"question": '],
    "nu.jsonl": [{"q": f"{n}?", "a": None if n == 5 else n} for n in range(20)],
    "mx.jsonl": [{"q": f"{n}?", "a": "Paris" if n % 2 else n} for n in range(20)],
    "ex.jsonl": [{"prompt": "1 + 1?", "completion": "<answer>2</answer>", "answer": "2"}],
    "noc.jsonl": [{"prompt": "1 + 1?", "answer": "2"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the files of all mistakes."""
    folder = tmp_path_factory.mktemp("evening")
    for name, text in FILES.items():
        (folder / name).write_text(text, newline="")
    for name, rows in ROWS.items():
        write_rows(folder / name, rows)
    quiz = "".join(f"{n},Which is {n}?,{n},{n + 1},{n + 2},{n + 3},A\n" for n in range(20))
    (folder / "quiz.csv").write_text(f"id,question,A,B,C,D,answer\n{quiz}")
    (folder / "lat.csv").write_bytes("q,a\nWo?,Köln\n".encode("latin-1"))
    (folder / "lat.yaml").write_bytes("rl: grpo # größer\n".encode("latin-1"))
    (folder / "u16.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K), encoding="utf-16")
    (folder / "d").mkdir()
    (folder / "same").mkdir()
    (folder / "same" / "notes.txt").touch()
    write_run(folder / "outq")
    write_run(folder / "outz")
    next((folder / "outz" / "rollouts").rglob("*.parquet")).write_bytes(b"PAR1cut")
    return folder


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("mine", "bad"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def write_config(folder, changes, name="c.yaml"):
    """Write the quickstart for a user's rows, with changes. The value None removes a key."""
    own = {"test_datasets": None, "grpo_held_out_rows": None, "output_dir": "./new", "trl__reward_funcs": [CORRECT]}
    write(folder, shipped_config(**{**own, **dataset(), **changes})).rename(folder / name)


def dataset(**changes):
    return {"datasets": [
        {"path": "rows.jsonl", "ds_type": "json", "split": "train", "type": "axolotl_grpo_plugin.gsm8k", **changes}
    ]}  # fmt: skip


def mine(name):
    return dataset(type="mine.rows") | {"trl__reward_funcs": [f"mine.{name}"]}


OK = ()  # it works, or only warns
# By the number in the notes: the words of the command, its exit code, and words of its one line.
COMMANDS = {
    1: ("train c.yaml --max-stpes 5 --dry-run", 1, "--max-stpes: no option", "Did you mean --max-steps?"),
    3: ("train openr1.yaml --dry-run", 1, "recipe of TRL", "axolotl-grpo convert openr1.yaml"),
    4: ("check openr1.yaml", 1, "recipe of TRL", "axolotl-grpo convert openr1.yaml"),
    6: ("check train_grpo.py", 1, "train_grpo.py: this is a Python script", "docs/coming-from.md"),
    8: ("init quiz.csv --out quiz", 0, "options    A, B, C, D: shown in the prompt"),
    9: ("init mmlu.jsonl --out mmlu", 0, "options    choices: shown in the prompt"),
    10: ("init extract.jsonl --out extract", 0, "JSON       the prompt asks for"),
    11: ("init units.jsonl --out units", 0, "system     system: shown"),
    12: ("init lat.csv", 1, "lat.csv: line 2: not UTF-8", "Save it in UTF-8"),
    13: ("init u16.jsonl", 1, "text in UTF-16. Save it in UTF-8"),
    14: ("init semi.csv", 1, "separated by ;", "Save it with commas"),
    15: ("init x.tsv", 1, "does not split at tabs. Save it as CSV"),
    16: ("init x.xlsx", 1, "x.xlsx: a spreadsheet. Save it as CSV"),
    17: ("init ok.txt", 1, "ok.txt: ", "Name it .jsonl"),
    18: ("init e.jsonl", 1, "an empty file"),
    19: ("init crlf.jsonl --out crlf", 0, "answers    "),
    20: ("init bl.jsonl", 1, "line 21, column 13: not JSON"),
    21: ("init nope.jsonl", 1, "no such file", "working folder"),
    22: ("init ok.jsonl --question question", 1, "no column 'question'. Valid names: a, q"),
    23: ("init ok.jsonl --out same", 1, "same: has other files"),
    24: ("init nu.jsonl", 1, 'row 5, column "a": no answer'),
    25: ("init mx.jsonl --out mx", 0, "answers    short text"),
    26: ("init ok.jsonl --out /proc/x", 1, "/proc/x", "Name another folder"),
    28: ("view outq --out nope/x/v.html", 1, "nope/x", "cannot be written"),
    30: ("view outz --out z.html", 0, ".parquet is left out, because it cannot be read"),
    32: ("check tab.yaml", 1, "line 3", "instead of tabs"),
    38: ("reward score ex.jsonl --reward gsm8k.corectness", 1, "Did you mean `gsm8k.correctness`?"),
    46: ("check twice.yaml", 1, "line 3 replaces line 2"),
    54: ("check lat.yaml", 1, "lat.yaml", "utf-8"),
    55: ("check empty.yaml list.yaml", 1, "not an Axolotl config"),
    64: ("train c.yaml --max-steps abc --dry-run", 1, "max_steps ('abc'): not a whole number"),
    65: ("train c.yaml --output-dir /proc/x", 1, "/proc", "Set another output_dir"),
    66: ("passrate c.yaml --keep 10:90", 1, "not a range. Write it as 0.1:0.9"),
    67: ("eval c.yaml --data rows.jsonl --checkpoints 20", 1, "no such checkpoint"),
    69: ("chek", 2, "Did you mean 'check'?"),
    70: ("reward score ex.jsonl --reward mine.exits", 1, "it raised SystemExit: 3 (mine.py, line "),
    72: ("stats c.yaml --rollouts d", 1, "no rollouts"),
    76: ("passrate trl.yaml", 1, "no highest score is declared"),
    77: ("init d", 1, "d: a folder"),
    78: ("init dict.json", 1, 'one object, whose rows are under "data". Save that list'),
    79: ("reward score noc.jsonl --reward gsm8k.correctness", 1, "no column 'completion'", "with --column"),
    83: ("train c.yaml --resume-from-checkpoint new/checkpoint-99", 1, "no such folder"),
}  # fmt: skip
TRL_KEYS = {
    "per_device_train_batch_size": 8, "num_train_epochs": 1, "model_name_or_path": "x", "dataset_name": "x",
    "report_to": "wandb", "torch_dtype": "bfloat16", "lr_scheduler_type": "cosine", "push_to_hub": True,
}  # fmt: skip
# By the number: changes of the config, the finding's level, and words of its line.
CONFIGS = {
    5: (TRL_KEYS, "error", "Write micro_batch_size", "Write num_epochs", "Write base_model", "Write datasets:",
        "wandb_project", "Write bf16", "Write lr_scheduler", "Write hub_model_id"),
    7: ({"plugins": None} | mine("number") | {"trl__reward_funcs": ["mine.chats"], "base_model": "a/b"},
        "error", "the GRPO plugin is not listed"),
    33: ({"trl__num_generation": 8}, "error", "Did you mean `trl.num_generations`?"),
    34: ({"learning_rat": 1e-4}, "error", "Did you mean `learning_rate`?"),
    35: ({"trl__num_generations": "eight"}, "error", "not a whole number"),
    36: ({"learning_rate": "5e-4"}, None),
    37: ({"trl__reward_funcs": [CORRECT.replace("corr", "cor")]}, "error", "Did you mean `correctness_reward_func`?"),
    39: ({"trl__reward_funcs": ["bad.fn"]}, "error", "SyntaxError: expected ':' (bad.py, line 1)"),
    40: (mine("chats"), "warning", "no completion that was tried earns more than 0"),
    41: (mine("number"), "error", "it returned 1.0, which is not a list"),
    42: (mine("Half"), "warning", "an empty completion earns 0.5"),
    43: (dataset(path="nope.jsonl"), "error", "no such file. Correct the path, which is relative to the working"),
    44: (dataset(type="axolotl_grpo_plugin.qa") | {"grpo_columns": {"question": "Question"}}, "error", '"Question"'),
    45: ({"base_model": "./models/nope"}, "error", "no such folder"),
    47: ({"trl__reward_weights": [1.0, 2.0]}, "error", "2 weights for 1 rewards"),
    48: ({"rl": "gpro"}, "error", "Set rl: grpo, or gdpo"),
    49: ({"plugins": None, "grpo_show_steps": 5}, "error", "the plugin is not listed, but"),
    50: (dataset(split="training"), "error", "training"),
    51: (dataset(ds_type="jsonl"), "error", "datasets[0].ds_type (jsonl): no such format. Did you mean `json`?"),
    52: ({"sequence_len": 20, "trl__max_completion_length": 32}, "error", "leaves no token for a prompt", "Raise sequence_len by "),
    53: ({"micro_batch_size": 3}, "error", "not a multiple of num_generations (8). Set gradient_accumulation_steps: 8"),
    56: ({"grpo_examples": [{"q": "1?", "a": "#### 1"}]}, "error", "grpo_examples.0.question", "grpo_examples.0.answer"),
    57: (mine("absent"), "error", 'it reads "nums", which the rows lack'),
    58: ({"max_steps": 0}, "error", "max_steps: 0 is out of range"),
    59: ({"trl__temperature": 0}, "error", "temperature: 0 is out of range"),
    60: ({"optimizer": "adam_w"}, "error", "optimizer (adam_w): no such name. Did you mean `adamw_torch`?"),
    61: ({"output_dir": "./rows.jsonl"}, "error", "is a file, not a folder"),
    62: ({"trl__reward_funcs": CORRECT}, "error", 'not a list. Put "- " before it'),
    63: ({"base_model": "HuggingFaceTB/SmolLM2-135M"}, "skipped", "SmolLM2-135M"),
    81: (mine("soft_format"), "warning", "re.DOTALL"),
}  # fmt: skip


# The other mistakes need a training, a disk or a signal: the files of their tests, with words of the tests.
ELSEWHERE = {
    2: ("e2e/test_mistakes.py", "second run in a folder"),
    27: ("commands/test_out.py", "test_place_that_takes_no_file_is_named"),
    29: ("commands/test_out.py", "test_place_that_takes_no_file_is_named"),
    68: ("commands/test_fetch.py", "kept"),
    71: ("commands/test_reward_score.py", "test_slow_reward_gets_a_line"),
    73: ("e2e/test_resume.py", "stopped before step 1"),
    74: ("e2e/test_supervisor.py", "test_signals_let_the_trainer_save"),
    75: ("e2e/test_mistakes.py", "no row is left"),
    80: ("serving/test_plan.py", "test_slurm_needs_scontrol"),
    82: ("checks/test_reuse.py", "no-checkpoint"),
}


def test_all_mistakes_have_a_test():
    assert sorted([*COMMANDS, *CONFIGS, *ELSEWHERE, 31]) == list(range(1, 84))
    for file, words in ELSEWHERE.values():
        assert words in (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize("number", COMMANDS)
def test_command_says_it_in_one_line(inside, number):
    write_config(inside, {})
    write_config(inside, mine("chats"), "trl.yaml")
    words, code, *said = COMMANDS[number]
    output = invoke(*words.split(), code=code).output
    lines = [line for line in output.splitlines() if all(text in line for text in said)]
    assert len(lines) >= 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", CONFIGS)
def test_check_says_it_in_one_line(inside, number):
    changes, level, *said = CONFIGS[number]
    write_config(inside, changes)
    output = invoke("check", "c.yaml", "--gpus", "0", "--offline", code=int(level == "error")).output
    found = [line for line in output.splitlines() if line.startswith(f"  {level} ")]
    if level is None:
        assert output.rstrip().endswith("OK"), output
    for text in said:
        assert len([line for line in found if text in line]) == 1, output
    if level == "error":
        assert len(found) == len(said), output
    assert "Traceback" not in output


def test_port_in_use_is_one_line(inside):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        output = invoke("view", "outq", "--serve", "--port", port, code=1).output
    assert "Address already in use. Name another one with --port." in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3, 4, 12, 14, 17, 26, 38, 64, 77])
def test_process_ends_early_in_one_line(inside, number):
    write_config(inside, {})
    words, code, *said = COMMANDS[number]
    ended = subprocess.run(
        ["axolotl-grpo", *words.split()], capture_output=True, text=True, cwd=inside, env=environment()
    )
    shown = ended.stdout + ended.stderr
    assert ended.returncode == code and "Traceback" not in shown, shown
    assert len([line for line in shown.splitlines() if all(text in line for text in said)]) == 1, shown
