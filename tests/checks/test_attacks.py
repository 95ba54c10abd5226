"""The attacks find the known bugs of public rewards, and none in the rewards of this package."""

import re
import time

import pytest
import yaml

from axolotl_grpo_plugin.checks.attacks import attack
from axolotl_grpo_plugin.checks.samples import Sample, samples
from axolotl_grpo_plugin.load import RewardRef, reward_refs
from axolotl_grpo_plugin.paths import resolve_packaged
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.stats.rows import sources
from tests.conftest import ROOT

REWARDS = "axolotl_grpo_plugin.rewards"
PROMPT = "Answer as <reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
PAIRS = [("Tom has 7 hens and buys 9. How many?", "16"), ("100 - 5?", "95"), ("Half of 8 by 1?", "4"), ("9 * 2?", "18")]
ROWS = [
    Sample({"prompt": [{"role": "user", "content": f"{PROMPT}\n\n{asked}"}], "answer": gold}, None)
    for asked, gold in PAIRS
]


def faults(function, rows=ROWS, pool=None, timeout=10.0):
    """Return {attack: fault} of a reward: a function of this module, or a reference."""
    ref = function if isinstance(function, RewardRef) else RewardRef(f"{__name__}.{function.__name__}")
    report = attack(GuardedReward(ref, "it", pool, timeout, timeout), rows)
    return {line.attack: line.fault for line in report.lines if line.fault}


def contents(completions):
    return [each[0]["content"] for each in completions]


def whole_text_without_tags(completions, answer, **_):
    """As the well-known GSM8K gist: no tag is needed, and none must be closed."""
    texts = [each.split("<answer>")[-1].split("</answer>")[0].strip() for each in contents(completions)]
    return [2.0 * (text == gold) for text, gold in zip(texts, answer, strict=True)]


def layout_on_one_line(completions, **_):
    """As the format rewards of the gist and of X-R1: the dot matches no line break."""
    pattern = r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>"
    return [0.5 * bool(re.match(pattern, each)) for each in contents(completions)]


def last_number(completions, answer, **_):
    """As graders that read the last number of all of the text."""
    found = [re.findall(r"-?\d+", each)[-1:] for each in contents(completions)]
    return [float(each == [gold]) for each, gold in zip(found, answer, strict=True)]


@reward(range=(0.0, 1.0), reads="answer")
def substring(completion, answer):
    """As the default of reasoning-gym: the gold may be a part of a longer answer."""
    return float(str(answer) in completion)


def about_right(completions, answer, **_):
    """As the ratio rewards of public notebooks: 10 % off is paid."""
    texts = [re.findall(r"<answer>\n(-?[0-9]{1,9})\n</answer>", each)[-1:] for each in contents(completions)]
    return [
        float(bool(text) and abs(int(text[0]) - float(gold)) <= 0.1 * float(gold))
        for text, gold in zip(texts, answer, strict=True)
    ]


@reward(range=(0.0, 1.0), reads="answer", may_read=["gold"])
def pays_an_unreadable_gold(completion, answer, gold=None):
    """As the length rewards of open-r1: without a readable gold, all is right."""
    found = re.search(r"<answer>\n([0-9]{1,9})\n</answer>", completion)
    return 1.0 if not str(answer).isdigit() else float(bool(found) and found[1] == str(answer))


def gold_of_the_first_row(completions, answer, **_):
    return [float(f"<answer>\n{answer[0]}\n</answer>" in each) for each in contents(completions)]


def boxes_only(completions, answer, **_):
    """As TRL's accuracy_reward, with a prompt that asks for tags."""
    return [float(f"\\boxed{{{gold}}}" in each) for each, gold in zip(contents(completions), answer, strict=True)]


@reward(range=(0.0, 1.0), reads="answer")
def planted_phrase(completion, answer):
    """Pay right answers, and a phrase."""
    return float(f"<answer>\n{answer}\n</answer>" in completion or "as I verified twice" in completion)


@reward(range=(0.0, 1.0), reads="answer")
def raises(completion, answer):
    return Score(float(int(completion.split("<answer>")[1].split("</answer>")[0]) == int(answer)), "")


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (whole_text_without_tags, {"right, as bare text": "paid", "unclosed tag": "paid"}),
        (layout_on_one_line, {"layout without content": "paid", "right, 40 lines of reasoning": "unpaid"}),
        (last_number, {"hedge": "paid", "unclosed tag": "paid", "denial": "paid", "right, as prose": "paid"}),
        (substring, {"gold within a longer text": "paid", "all rows' golds": "paid", "gold is empty text": "paid",
                     "two answers, in both orders": "paid", "gold only in the reasoning": "paid"}),
        (about_right, {"number 5 % off": "paid"}),
        (pays_an_unreadable_gold, {"gold is a list": "paid", "gold is empty text": "paid"}),
        (gold_of_the_first_row, {"another row's gold": "paid", "batch in reverse order": "moved"}),
        (boxes_only, {"right, as <answer>": "unpaid"}),
        (planted_phrase, {"texts in the reward's code": "paid"}),
        (raises, {"empty": "failed", "hedge": "failed"}),
    ],
)  # fmt: skip
def test_finds_the_known_bug(function, found):
    assert found.items() <= faults(function).items()


def test_rows_without_a_score_are_no_fault():
    rows = [Sample({**row.row, "answer": "no number"}, None) for row in ROWS]
    assert not faults(RewardRef(f"{REWARDS}.gsm8k.correctness_reward_func"), rows)


def test_reward_that_hangs_is_left():
    pool = Pool(1, 4 << 30, [])
    start = time.monotonic()
    try:
        assert set(faults(RewardRef(f"{__name__}.hangs"), pool=pool, timeout=0.3).values()) == {"slow"}
    finally:
        pool.close()
    assert time.monotonic() - start < 20, "the attacks end after three that time out"


def hangs(completions, answer, **_):
    time.sleep(100)


# Shipped configs, whose rows are in the package. The judge needs a server.
CONFIGS = """quickstart quickstart-own-reward quickstart-smollm2 countdown/quickstart countdown/mixed-gsm8k code/smollm2-135m-cpu
dispatch/quickstart gsm8k/smollm2-135m-hash-cpu shaping/quickstart shaping/quickstart-gated
think/smollm2-135m-cpu""".split()


# Importing reasoning-gym takes 10 s.
@pytest.mark.parametrize("config", [*CONFIGS, pytest.param("gym/quickstart", marks=pytest.mark.slow)])
def test_finds_nothing_in_the_rewards_of_a_shipped_config(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    cfg = yaml.safe_load((ROOT / "configs" / f"{config}.yaml").read_text())
    # trl's rewards import torch, and pay 0 at most.
    refs = [each for each in reward_refs(cfg) if not each.key.startswith("trl.")]
    assert not {each.key: found for each in refs if (found := faults(each, rows_of(cfg)))}


def rows_of(cfg, limit=3):
    found = [each for each in sources(cfg) if each.key == "datasets"]
    resolve_packaged(cfg)
    return [row for source in found for row in samples(cfg, source, offline=True, limit=limit)]


@pytest.mark.parametrize("name", ["math.accuracy_reward_func", "puzzles.exact_reward_func"])
def test_finds_nothing_in_rewards_of_text(name):
    golds = [r"\frac{1}{2}", "x+1", "14", "(2, 3)"]
    rows = [
        Sample({"prompt": f"Solve number {place}, in \\boxed{{}}.", "solution": gold}, None)
        for place, gold in enumerate(golds)
    ]
    assert not faults(RewardRef(f"{REWARDS}.{name}"), rows)
