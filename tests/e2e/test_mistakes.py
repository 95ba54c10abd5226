"""Typical mistakes of a first hour: `axolotl-grpo check` and `axolotl train` say the same, in one line.

A mistake ends the run with exit code 1 before the model loads. Rows that rightly train are here, too.
"""

import json
import os
import re
import shutil

import pytest

from axolotl_grpo_plugin.output.lock import take
from tests.e2e.conftest import ROOT, fork, shipped_config, write

MODEL = ROOT / "axolotl_grpo_plugin" / "quickstart" / "model"
GOOD = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(20)]
INTS = [{"question": f"{n} + 1?", "answer": n + 1} for n in range(20)]
BROKEN = [json.dumps(row) for row in GOOD[:16]] + ['{"question": "1 + 1?", "answer": "2'] + ["{}"]

MODULES = {
    "mine.py": """
from axolotl_grpo_plugin.reward import reward

def rows(cfg, **_):
    return lambda row: {"prompt": [{"role": "user", "content": row["question"]}]}

def no_factory(row):
    return {"prompt": row["question"]}

def no_prompt(cfg, **_):
    return lambda row: {"text": row["question"]}

def dict_prompt(cfg, **_):
    return lambda row: {"prompt": {"role": "user", "content": row["question"]}}

def plain(prompts, completions, **columns):
    return [float(len(each[0]["content"]) % 2) for each in completions]

@reward(range=(0.0, 1.0), reads="anser")
def decorated(completion, anser):
    return 1.0

@reward(range=(0.0, 1.0))
def outside(completion):
    return 5.0

def raises(prompts, completions, **columns):
    return [{}["nope"] for _ in completions]

def loops(prompts, completions, **columns):
    while True:
        pass

def ends(prompts, completions, answer, **columns):
    return [float(c[0]["content"].endswith(a)) for c, a in zip(completions, answer)]
""",
    "other.py": "from mine import plain as _plain\ndef plain(**columns):\n    return _plain(**columns)\n",
    "syntax.py": "def fn(prompts, completions, **columns)\n    return []\n",
}
OURS = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
GSM8K = "axolotl_grpo_plugin.gsm8k"
NAN = [{"question": f"{n} + 1?", "answer": float("nan")} for n in range(20)]
CHOICES = [{"question": f"{n} + 1?", "choices": ["1", "2"], "answer": 9} for n in range(20)]
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHESS = {"data_source": "chess", "prompt": "Mate?", "reward_model": {"ground_truth": "Qh7"}}


def reward(*keys, **changes):
    """Use these rewards on rows of the user's own."""
    return data("mine.rows", GOOD, trl__reward_funcs=list(keys), **changes)


def data(type, rows, path="rows.jsonl", **changes):
    return {"datasets": [{"path": path, "ds_type": "json", "type": type}], "rows": rows, **changes}


def lock(folder):
    take(folder / "out", "output_dir")


def cut_checkpoint(folder):
    (folder / "out" / "checkpoint-3").mkdir(parents=True)
    (folder / "out" / "checkpoint-3" / "trainer_state.json").write_text('{"global_st')


# The row's number in the review, its changes of the quickstart, and words of the line of `check`, which
# are those of `train` too if there are no others. None: it trains.
MISTAKES = {
    "1 wrong module": (reward("mien.plain"), "there is no module 'mien'. Install it, or start in"),
    "3 undecorated": (reward("mine.plain"), None),
    "5 misspelt column, decorated": (reward("mine.decorated"), '"anser"'),
    "8 outside its range": (reward("mine.outside"), "it returned 5.0, which is outside its range"),
    "outside its range in the YAML": (
        reward("mine.ends", grpo_reward_range={"mine.ends": [-1.0, -0.5]}),
        "it returned 0.0, which is outside its range (-1.0, -0.5)",
    ),
    "10 raises": (reward("mine.raises"), r"it raised KeyError: 'nope' (mine.py, line 28)"),
    "11 infinite loop": (
        reward("mine.loops", grpo_reward_timeout=0.4), "a completion was not scored within ",
    ),
    "12 no factory": (data("mine.no_factory", GOOD), None),
    "13 no prompt": (data("mine.no_prompt", GOOD), '"prompt"'),
    "14 dict prompt": (data("mine.dict_prompt", GOOD), "the prompt is neither text nor a chat"),
    "15 reward_func": ({"trl__reward_func": [OURS]}, "Did you mean `trl.reward_funcs`?"),
    "19 learning_rat": ({"learning_rat": 1e-4, "learning_rate": None}, "learning_rate: Field required", "Did you mean `learning_rate`?"),
    "20 no plugin, pkg://": ({"plugins": None}, "the plugin is not listed, but "),
    "21 no plugin, local model": (
        reward(OURS, plugins=None, base_model=str(MODEL), grpo_held_out_rows=None),
        f"the plugin is not listed, but {OURS} needs it. Add - axolotl_grpo_plugin.GRPOPlugin",
    ),
    "22 misspelt plugin": (
        {"plugins": ["axolotl_grpo_plugin"]}, "not the plugin's path. Write axolotl_grpo_plugin.GRPO",
    ),
    "22 plugins as text": (
        {"plugins": "axolotl_grpo_plugin.GRPOPlugin"}, "not a list. Write - axolotl_grpo_plugin.GRPO",
    ),
    "plugins of one letter": ({"plugins": ["x", "x"]}, "'x' is no path, or plugins is not a list"),
    "23 no trl": ({"trl": None}, "trl.reward_funcs: no reward is named"),
    "24 missing file": (data(GSM8K, None, "nowhere.jsonl"), "(nowhere.jsonl): no such file"),
    "28 no chat template": (
        reward("mine.plain", base_model="model", sequence_len=None), "no chat template. Set `chat_template:`",
    ),
    "29 num_generations 7": ({"trl__num_generations": 7}, "num_generations"),
    "30 gold ints, own reward": (
        data("mine.rows", INTS, trl__reward_funcs=["mine.ends"]),
        "endswith first arg must be str or a tuple of str, not int (mine.py, line 35). In this row, answer is int",
    ),
    "31 gold ints, gsm8k": (data(GSM8K, INTS), 'row 0, column "answer": no text: 1'),
    "32 JSON list": (data(GSM8K, json.dumps(GOOD), "rows.json"), None),
    "33 broken row": (data(GSM8K, "\n".join(BROKEN)), "line 17, column 34: not JSON"),
    "34 syntax error": (reward("syntax.fn"), "SyntaxError: expected ':' (syntax.py, line 1)"),
    "36 two of one name": (reward("mine.plain", "other.plain"), None),
    "42 no wandb login": ({"wandb_project": "mine"}, "wandb has no login"),
    "44 rl: gpro": ({"rl": "gpro"}, "Set rl: grpo", "rl: Input should be"),
    "FSDP2 in one process": (
        {"fsdp_version": 2, "fsdp_config": {"reshard_after_forward": True}},
        "fsdp_config: it shares the model between processes, and there is only one. Start two or more with",
    ),
    "ZeRO-3 in one process": (
        {"deepspeed": {"zero_optimization": {"stage": 3}}},
        "deepspeed: it shares the model between processes, and there is only one. Start two or more with",
    ),
    "no row is left": (data(GSM8K, GOOD, sequence_len=40), "No row is left. The longest has "),
    "source without a route": (
        data("axolotl_grpo_plugin.verl", [{**CHESS, "data_source": "math"}, CHESS], trl__reward_funcs=[DISPATCH]),
        "data_source 'chess': no route takes it. Add `chess: ",
    ),
    "second run in a folder": ({"output_dir": "out", "before": lock}, f"(out): in use by process {os.getpid()} on "),
    "cut checkpoint": (
        {"resume_from_checkpoint": "out/checkpoint-3", "before": cut_checkpoint},
        "(out/checkpoint-3): it is not whole, because trainer_state.json is cut. Begin again without it",
    ),
    "template without system turn": (
        data(GSM8K, GOOD, grpo_system_in="system", chat_template_jinja=NO_SYSTEM), "drops the system turn (number 1)",
    ),
    "gold NaN": (data("axolotl_grpo_plugin.qa", NAN), 'row 0, column "answer": no answer: nan'),
    "gold is no option": (data("axolotl_grpo_plugin.choice", CHOICES), 'row 0, column "answer": no option: 9'),
    "learning_rate 1e5": ({"learning_rate": 1e5}, "learning_rate: 100000.0 is out of range"),
}  # fmt: skip
ENV = {"CUDA_VISIBLE_DEVICES": "", "NETRC": "/dev/null", "WANDB_API_KEY": ""}


def run(mistake, folder):
    """Return exit code and output of `check` and of `train`."""
    changes = {**MISTAKES[mistake][0]}
    changes.pop("before", lambda _: None)(folder)
    rows = changes.pop("rows", None)
    if rows is not None:
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (folder / (changes["datasets"][0]["path"])).write_text(text)
    for name, code in MODULES.items():
        (folder / name).write_text(code)
    if changes.get("base_model") == "model":
        shutil.copytree(MODEL, folder / "model", ignore=lambda *_: ["chat_template.jinja"])
    few = {"max_steps": 1, "test_datasets": None, "grpo_held_out_rows": None}
    config = write(folder, shipped_config(**{**few, "micro_batch_size": 8, **changes}))
    return (fork("grpo", "check", config, cwd=folder, **ENV), fork("train", config, cwd=folder, **ENV))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_and_train_report_the_mistake_in_one_line(tmp_path, mistake):
    _, *words = MISTAKES[mistake]
    checked, trained = run(mistake, tmp_path)
    if words == [None]:
        assert (checked.returncode, trained.returncode) == (0, 0), trained.output[-3000:]
        return
    assert (checked.returncode, trained.returncode) == (1, 1), trained.output[-3000:]
    assert len([line for line in errors(checked.output) if words[0] in line]) == 1, checked.output
    lines = [line for line in trained.output.splitlines() if line.startswith("axolotl-grpo-plugin: ")]
    assert len(lines) == 1 and words[-1] in lines[0], trained.output[-3000:]
    assert trained.output.rstrip().endswith(lines[0])
    assert "Traceback" not in trained.output and "Loading weights" not in trained.output


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["10 raises", "44 rl: gpro"])
def test_grpo_train_ends_with_one_line_in_place_of_the_launchers_tracebacks(tmp_path, mistake):
    run(mistake, tmp_path)
    words = ["grpo", "train", tmp_path / "config.yaml"]  # through `accelerate launch`
    ended = fork(*words, cwd=tmp_path, **ENV)
    *_, last = ended.output.splitlines()
    assert ended.returncode == 1 and "Traceback" not in ended.output, ended.output[-3000:]
    assert last.startswith("axolotl-grpo-plugin: ") and MISTAKES[mistake][1] in last


def test_grpo_train_reports_a_tab_in_the_yaml(tmp_path):
    (tmp_path / "config.yaml").write_text("rl: grpo\ntrl:\n\tbeta: 0.0\n")
    for command in ("check", "train"):
        ended = fork("grpo", command, "config.yaml", cwd=tmp_path, **ENV)
        (line,) = [line for line in ended.output.splitlines() if "instead of tabs" in line]
        assert ended.returncode == 1 and "line 3" in line and "Traceback" not in ended.output


def test_train_names_a_judge_that_does_not_answer(tmp_path):
    config = write(tmp_path, shipped_config("judge/quickstart"))
    ended = fork("train", config, cwd=tmp_path, **ENV)
    line = "trl.reward_funcs[0] (axolotl_grpo_plugin.rewards.judge.judge): http://127.0.0.1:8100"
    assert ended.returncode == 1 and line in ended.output
    assert "Traceback" not in ended.output and "Loading weights" not in ended.output


def errors(output):
    return re.findall(r"^  (?:error|warning) +(.*)", output, re.MULTILINE)
