"""The attacks find the known bugs of public rewards, and none in the rewards of this package."""

import json
import re
import time
from contextlib import closing

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.load import RewardRef, load_reward, reward_refs
from axolotl_grpo_plugin.paths import resolve_packaged
from axolotl_grpo_plugin.reward import Reward, Score, reward
from axolotl_grpo_plugin.rewards import countdown, format, gsm8k, math, puzzles, shaping
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.guards import Guards, ScoringSettings
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.trying.attacks import MAY_PAY, attack
from axolotl_grpo_plugin.trying.samples import Sample, samples
from tests.conftest import ROOT
from tests.rewards.judge_server import MODEL, JudgeServer, Reply

REWARDS = "axolotl_grpo_plugin.rewards"
FAIL = "tests.scoring.rewards_that_fail"  # a scoring process imports it fast
PROMPT = "Answer as <reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
PAIRS = [("Tom has 7 hens and buys 9. How many?", "16"), ("100 - 5?", "95"), ("Half of 8 by 1?", "4"), ("9 * 2?", "18")]
ROWS = [
    Sample({"prompt": [{"role": "user", "content": f"{PROMPT}\n\n{asked}"}], "answer": gold}, None)
    for asked, gold in PAIRS
]


def report_of(function, rows=ROWS, pool=None, timeout=10.0):
    """Attack a reward: a function of this module, or a reference."""
    ref = function if isinstance(function, RewardRef) else RewardRef(f"{__name__}.{function.__name__}")
    return attack(GuardedReward(ref, "it", pool, timeout, timeout), rows)


def faults(function, *rows, **more):
    return {line.attack: line.fault for line in report_of(function, *rows, **more).lines if line.fault}


def contents(completions):
    return [messages[0]["content"] for messages in completions]


def whole_text_without_tags(completions, answer, **_):
    """As the well-known GSM8K gist: no tag is needed, and none must be closed."""
    texts = [text.split("<answer>")[-1].split("</answer>")[0].strip() for text in contents(completions)]
    return [2.0 * (text == gold) for text, gold in zip(texts, answer, strict=True)]


def layout_on_one_line(completions, **_):
    """As the format rewards of the gist and of X-R1: the dot matches no line break."""
    pattern = r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>"
    return [0.5 * bool(re.match(pattern, text)) for text in contents(completions)]


def last_number(completions, answer, **_):
    """As graders that read the last number of all of the text."""
    found = [re.findall(r"-?\d+", text)[-1:] for text in contents(completions)]
    return [float(last == [gold]) for last, gold in zip(found, answer, strict=True)]


@reward(range=(0.0, 1.0), reads="answer")
def substring(completion, answer):
    """As the default of reasoning-gym: the gold may be a part of a longer answer."""
    return float(str(answer) in completion)


def about_right(completions, answer, **_):
    """As the ratio rewards of public notebooks: 10 % off is paid."""
    texts = [re.findall(r"<answer>\n(-?[0-9]{1,9})\n</answer>", text)[-1:] for text in contents(completions)]
    return [
        float(bool(text) and abs(int(text[0]) - float(gold)) <= 0.1 * float(gold))
        for text, gold in zip(texts, answer, strict=True)
    ]


@reward(range=(0.0, 1.0), reads="answer", may_read=["gold"])
def pays_an_unreadable_gold(completion, answer, gold=None):
    """As the length rewards of open-r1: without a readable gold, all is right."""
    found = re.search(r"<answer>\n([0-9]{1,9})\n</answer>", completion)
    return 1.0 if not str(answer).isdigit() else float(bool(found) and found[1] == str(answer))


def gold_among_numbers(completions, **columns):
    """As rewards that take their columns from **kwargs."""
    found = [re.findall(r"-?\d+", text) for text in contents(completions)]
    return [float(gold in numbers) for numbers, gold in zip(found, columns["answer"], strict=True)]


def gold_of_the_first_row(completions, answer, **_):
    return [float(f"<answer>\n{answer[0]}\n</answer>" in text) for text in contents(completions)]


@reward(range=(0.0, 1.0), reads="answer")
def raises(completion, answer):
    return Score(float(int(completion.split("<answer>")[1].split("</answer>")[0]) == int(answer)), "")


@pytest.mark.parametrize(
    "function, found",
    [
        (whole_text_without_tags, {"right, as bare text": "paid", "unclosed tag": "paid"}),
        (layout_on_one_line, {"layout without content": "paid", "right, 40 lines of reasoning": "unpaid"}),
        (last_number, {"hedge": "paid", "unclosed tag": "paid", "denial": "paid", "right, as prose": "paid"}),
        (substring, {"gold within a longer text": "paid", "all rows' golds": "paid", "gold is empty text": "paid",
                     "right answer between wrong ones": "paid", "gold only in the reasoning": "paid"}),
        (about_right, {"number 5 % off": "paid"}),
        (pays_an_unreadable_gold, {"gold is a list": "paid", "gold is empty text": "paid"}),
        (gold_among_numbers, {"all rows' golds": "paid", "hedge": "paid", "denial": "paid"}),
        (gold_of_the_first_row, {"another row's gold": "paid", "batch in reverse order": "moved"}),
        (raises, {"empty": "failed", "hedge": "failed"}),
    ],
)  # fmt: skip
def test_finds_the_known_bug(function, found):
    assert found.items() <= faults(function).items()


@pytest.fixture(scope="module")
def pool():
    with closing(Pool(1, 4 << 30, [])) as pool:
        yield pool


LISTS = [[3, 5], [12, 7, 4], ["owl", "jay"], {"x": 8, "y": [2]}]


def rows_with(golds, column="solution"):
    """Return rows whose golds are values, not text."""
    return [
        Sample({"prompt": [{"role": "user", "content": f"{PROMPT}\n\nList number {place} of 9?"}], column: gold}, None)
        for place, gold in enumerate(golds)
    ]


@reward(range=(0.0, 1.0), reads="solution")
def every_entry_is_somewhere(completion, solution):
    return float(all(str(entry) in completion for entry in solution))


@reward(range=(0.0, 1.0), reads="solution")
def list_without_brackets(completion, solution):
    return float(completion.endswith(f"<answer>\n{', '.join(map(str, solution))}\n</answer>"))


@pytest.mark.parametrize("rows", [ROWS, rows_with(LISTS[:2], "answer")])
def test_finds_a_reward_that_evaluates_the_answer(rows, pool):
    found = faults(RewardRef(f"{FAIL}.evaluates"), rows, pool=pool, timeout=0.5)
    assert (found["code"], found["unevaluated expression"]) == ("paid", "paid")


def test_attacks_golds_that_are_lists_and_objects():
    found = faults(every_entry_is_somewhere, rows_with(LISTS))
    paid = {"hedge", "denial", "all rows' golds", "gold only in the reasoning", "unclosed tag", "gold is an empty list"}
    assert paid <= {name for name, fault in found.items() if fault == "paid"}
    assert not faults(RewardRef(f"{REWARDS}.puzzles.exact_reward_func"), rows_with(LISTS))


def test_finds_that_a_list_is_paid_without_its_brackets():
    report = report_of(list_without_brackets, rows_with(LISTS[:3]))
    tried = [line.attack for line in report.lines if line.tried]
    assert (report.layout, report.faults) == ("<answer>", [])
    assert {"hedge", "number 5 % off", "unevaluated expression", "code"} <= {*tried}


def test_the_page_on_rewards_has_a_fix_for_each_attack():
    page = (ROOT / "docs" / "writing-a-reward.md").read_text()
    for line in report_of(substring).lines:
        # A name after a longer one may be shortened: `digits`.
        assert line.must == MAY_PAY or f"{line.attack.split()[-1]}`" in page, line.attack


@pytest.mark.parametrize(
    "function, rows",
    [
        (substring, ROWS),
        (every_entry_is_somewhere, rows_with(["no number"] * 3)),
        (every_entry_is_somewhere, rows_with(LISTS)),
        (layout_on_one_line, rows_with(["a"], "other")),
    ],
)
def test_every_attack_without_a_score_says_why(function, rows):
    for line in report_of(function, rows).lines:
        assert line.tried or line.note or line.fault, line


def test_async_reward_that_evaluates_the_answer_is_ended():
    settings = ScoringSettings(0.5, 1.0, isolation="process")
    with closing(Guards([RewardRef(f"{FAIL}.evaluates_async")], settings)) as guards:
        (guard,) = guards.guards.values()
        found = {line.attack: line.fault for line in attack(guard, ROWS[:2]).lines}
    assert (found["code"], found["tower of powers"]) == ("paid", "slow")


def test_rows_without_a_score_are_no_fault():
    rows = [Sample({**row.row, "answer": "no number"}, None) for row in ROWS]
    assert not faults(RewardRef(f"{REWARDS}.gsm8k.correctness_reward_func"), rows)


def test_reward_that_hangs_is_left(pool):
    start = time.monotonic()
    assert set(faults(RewardRef(f"{FAIL}.hangs_on_a_batch"), pool=pool, timeout=0.1).values()) == {"slow"}
    assert time.monotonic() - start < 20, "the attacks end after three that time out"


# Shipped configs, whose rows are in the package. The judge needs a server.
CONFIGS = """quickstart quickstart-own-reward quickstart-smollm2 countdown/quickstart countdown/mixed-gsm8k
dispatch/quickstart gsm8k/smollm2-135m-hash-cpu shaping/quickstart shaping/quickstart-gated
think/smollm2-135m-cpu""".split()


# Importing reasoning-gym takes 10 s. A program that never ends costs its limit.
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("code/smollm2-135m-cpu", "gym/quickstart")]


@pytest.mark.parametrize("config", [*CONFIGS, *SLOW])
def test_finds_nothing_in_the_rewards_of_a_shipped_config(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    cfg = yaml.safe_load((ROOT / "configs" / f"{config}.yaml").read_text())
    if config.startswith("code/"):  # a tower of powers runs until this limit
        cfg["grpo_reward_args"] = {f"{REWARDS}.code.code_reward_func": {"timeout": 0.25}}
    for ref in reward_refs(Config(cfg)):
        if not ref.key.startswith("trl."):  # those import torch, and pay 0 at most
            assert not faults(ref, rows_of(cfg)), ref.key


def rows_of(cfg, limit=3):
    found = sources(Config(cfg))
    resolve_packaged(Config(cfg))
    rows = []
    for source in found:
        if source.key == "datasets":
            rows += samples(Config(cfg), source, offline=True, limit=limit)
    return rows


GRIDS = [{"header": ["House", "Pet"], "rows": [["1", pet], ["2", other]]} for pet, other in ("ab", "cd", "ef")]
PROBLEMS = [([3, 3, 8, 8], 24, "8 / (3 - 8 / 3)"), ([2, 9, 10], 8, "10 / 2 * 9 - 37"), ([1, 5, 7], 13, "1 + 5 + 7")]
COUNTDOWN = [
    Sample({"prompt": f"Use {nums} for {target}.", "nums": nums, "target": target}, f"<answer>{solution}</answer>")
    for nums, target, solution in PROBLEMS
]
# The rows of each reward that reads columns. Those of code and gym are in the configs above.
ROWS_OF = {
    ("answer",): [ROWS],
    ("solution",): [
        rows_with(["18", "7", "95"]),
        rows_with([r"\frac{1}{2}", "x+1", "(2, 3)", "14"]),
        rows_with(LISTS),
        rows_with(GRIDS),
    ],
    ("nums", "target"): [COUNTDOWN],
    (): [ROWS, COUNTDOWN],
}
MODULES = (countdown, format, gsm8k, math, puzzles, shaping)
LIBRARY = [
    f"{module.__name__}.{name}"
    for module in MODULES
    for name, function in vars(module).items()
    if isinstance(function, Reward) and function.__module__ == module.__name__
]


@pytest.mark.every(2)
@pytest.mark.parametrize("path", LIBRARY)
def test_finds_nothing_in_a_reward_of_the_library(path):
    ref = RewardRef(path)
    for rows in ROWS_OF[load_reward(ref).spec.reads]:
        assert not faults(ref, rows)


def test_library_has_all_rewards_but_code_and_gym():
    assert len(LIBRARY) == 16


@reward(range=(0.0, 1.0), reads="answer")
def compares_a_number_with_text(completion, answer):
    return float(re.findall(r"<answer>\n([0-9]{1,9})\n</answer>", completion) == [int(answer)])


@reward(range=(0.0, 1.0))
def wants_steps(completion):
    return float("Step 1" in completion)


def pays_nothing(completions, **_):
    return [0.0] * len(completions)


def lowers_long_texts(completions, **_):
    return [-1.0 * (len(text) > 1000) for text in contents(completions)]


@reward(range=(-1.0, 0.0), reads="answer")
def lowers_wrong_answers(completion, answer):
    return -float(answer not in completion)


@pytest.mark.parametrize("function", [lowers_long_texts, lowers_wrong_answers])
def test_penalty_need_not_pay_a_right_answer(function):
    assert "right, in all layouts" not in faults(function)


@pytest.mark.parametrize("function", [compares_a_number_with_text, pays_nothing])
def test_finds_that_no_right_answer_is_paid(function):
    assert faults(function) == {"right, in all layouts": "unpaid"}


def test_unpaid_layout_is_no_fault_of_a_reward_that_declares_its_range():
    assert not faults(wants_steps)


def test_unpaid_right_answer_is_no_fault_without_a_gold():
    assert not faults(pays_nothing, rows_with(["a"], "other"))


def tag_anywhere(completions, answer, **_):
    """As rewards that search the tag in all of the text, thinking included."""
    return [
        float(f"<answer>\n{gold}\n</answer>" in text) for text, gold in zip(contents(completions), answer, strict=True)
    ]


def box_anywhere(completions, answer, **_):
    return [float(rf"\boxed{{{gold}}}" in text) for text, gold in zip(contents(completions), answer, strict=True)]


@reward(range=(0.0, 1.0), reads="answer", may_read="options")
def text_of_the_option(completion, answer, options=None):
    """As graders that search the right option's text."""
    return float(options["ABCD".index(answer)] in completion)


def any_filled_answer(completions, answer, **_):
    """As rewards that fall back to the layout if they cannot compare."""
    texts = [text.split("<answer>\n")[-1].split("\n</answer>")[0] for text in contents(completions)]
    return [float(text == gold or text == "$Answer") for text, gold in zip(texts, answer, strict=True)]


CITIES = ["Rome", "Berlin", "Madrid", "Paris"]
CHOICES = [
    Sample({"prompt": [{"role": "user", "content": f"{PROMPT}\n\n{n}?"}], "answer": letter, "options": CITIES}, None)
    for n, letter in enumerate("DABC")
]


@pytest.mark.parametrize(
    "function, name, rows",
    [
        (tag_anywhere, "draft in unfinished thinking", ROWS),
        (box_anywhere, "answer line against a box", ROWS),
        (text_of_the_option, "another letter, right text", CHOICES),
        (any_filled_answer, "instruction's placeholder", ROWS),
    ],
)
def test_finds_the_faults_of_public_reports(function, name, rows):
    assert faults(function, rows)[name] == "paid"


def test_choice_has_no_fault_on_options():
    rows = [Sample({**sample.row, "solution": sample.row["answer"]}, None) for sample in CHOICES]
    assert not faults(RewardRef(f"{REWARDS}.choice.choice_reward_func"), rows)


AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
# Rows in the form that a reward expects, which no attack may find a fault with.
RIGHT_ROWS = {
    "json_schema.json_schema_reward_func": [
        {"prompt": f"State the age as JSON.\n\nTom is {age} years old.", "schema": AGE} for age in (7, 8)
    ],
    "tool_call.tool_call_reward_func": [
        {
            "prompt": f"Answer by <tool_call> blocks.\n\nWhat is the weather in {city}?",
            "solution": json.dumps([{"name": "weather", "arguments": {"city": city, "days": days}}]),
        }
        for days, city in enumerate(["Rome", "Oslo", "Lima"], 1)
    ],
    "instructions.instructions_reward_func": [
        {
            "prompt": f"Write about {animal}s in at least 40 words. Use no comma, and finish with: Any questions?",
            "instruction_id_list": ["length_constraints:number_words", "punctuation:no_comma", "startend:end_checker"],
            "kwargs": [{"num_words": 40, "relation": "at least"}, {}, {"end_phrase": "Any questions?"}],
        }
        for animal in ("hen", "owl")
    ],
}


@pytest.mark.parametrize("name", RIGHT_ROWS)
def test_reward_has_no_fault_on_rows_of_its_form(name):
    assert not faults(RewardRef(f"{REWARDS}.{name}"), [Sample(row, None) for row in RIGHT_ROWS[name]])


@pytest.mark.parametrize("options", [{}, {"rubric": "It is right.", "scale": 4}])
def test_judge_has_no_fault_if_its_model_is_honest(options):
    def verdict(asked):
        points = 4 if options else "yes"
        nothing = 0 if options else "no"
        return Reply(f"VERDICT: {points if asked.data['answer'] == asked.data['reference'] else nothing}")

    with JudgeServer(verdict) as server:
        arguments = {"model": MODEL, "base_url": server.url, "gold": "answer", **options}
        assert not faults(RewardRef.of(f"{REWARDS}.judge.judge", arguments), ROWS[:2])


def test_draft_in_thinking_that_the_prompt_opens_is_not_paid():
    rows = [
        Sample({**sample.row, "prompt": f"{sample.row['prompt'][0]['content']}\n<think>\n"}, None) for sample in ROWS
    ]
    guard = GuardedReward(RewardRef(f"{REWARDS}.gsm8k.correctness_reward_func"), "it", None, 10.0, 10.0)
    guard.ends = lambda prompts: ["<think>"] * len(prompts)
    report = attack(guard, rows)
    assert not report.faults
    (line,) = [line for line in report.lines if line.attack == "draft in unfinished thinking"]
    assert line.tried == len(rows)
    assert report.layout == "<answer>"
