"""The scores of the shaping rewards, and of TRL's length rewards."""

from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards import shaping
from tests.rewards.helpers import named

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
CORRECT = f"{GSM8K}.correctness_reward_func"
RIGHT, WRONG = "<answer>18</answer>", "<answer>17</answer>"


def made(factory, **arguments):
    """Return a reward as a config names it."""
    return load_reward(RewardRef(factory, tuple(sorted(arguments.items()))))


def ours(name, **arguments):
    return made(f"axolotl_grpo_plugin.rewards.shaping.{name}", **arguments)


@reward(range=(-1.0, 0.0), reads="answer", reasons=["ends", "other"])
def _or_less(completion, answer):
    return Score(0.0, "ends") if completion.endswith(answer) else Score(-1.0, "other")


or_less = _or_less
HERE = f"{__name__}.or_less"


def steps(*lines):
    return "<think>\n" + "\n".join(lines) + "\n</think>\n18"


A, B, C, D = "she has 16 eggs", "9 * 2 = 18", "so that is it", "let me check that"

# id, completion, steps
STEPS = [
    ("numbers", steps(f"1. {A}", f"2. {B}", f"3. {C}"), 3),
    ("numbers in brackets", steps(f"1) {A}", f"2) {B}"), 2),
    ("steps", steps(f"Step 1: {A}", f"Step 2: {B}", f"Step 3: {C}"), 3),
    ("headings", steps("### Step 1", A, "### Step 2", B), 2),
    ("bold", steps(f"**Step 1:** {A}", f"**2.** {B}", f"**3. Add them:** {C}"), 3),
    ("bullets", steps(f"- {A}", f"* {B}", f"• {C}"), 3),
    ("words", steps(f"First, {A}", f"Secondly, {B}", f"Finally, {C}"), 3),
    ("more are no more", steps(f"1. {A}", f"2. {B}", f"3. {C}", f"4. {D}"), 3),
    ("indented", steps(f"  1. {A}", f"  2. {B}"), 2),
    ("over lines", steps("1. She", "has", "eggs", f"2. {B}"), 2),
    ("no thinking", f"1. {A}\n2. {B}", 0),
    ("unclosed thinking", f"<think>\n1. {A}\n2. {B}", 0),
    ("steps in the answer alone", f"<think>hm</think>1. {A}\n2. {B}", 0),
    ("prefilled thinking", f"1. {A}\n2. {B}\n</think>18", 2),
    ("reasoning tags", f"<reasoning>\n1. {A}\n2. {B}\n</reasoning>", 2),
    ("text before the thinking", f"1. {A}\n<think>\n2. {B}</think>", 1),
    ("prose", steps(A, B, C), 0),
    ("within a line", steps(f"so 1. {A} 2. {B} 3. {C} - {D}"), 0),
    ("keywords (open-r1)", steps("First, Second, Third, Next, Then, Finally,"), 0),
    ("keywords, a line each (open-r1)", steps("First,", "Second,", "Next,", "Finally,"), 0),
    ("steps in a line (open-r1)", steps("Step 1: Step 2: Step 3: Step 4: Step 5:"), 0),
    ("empty numbers (open-r1)", steps("1.", "2.", "3."), 0),
    ("empty bullets (open-r1)", steps("- ", "- ", "- "), 0),
    ("too little", steps("1. a", "2. b c", "3. First, d e"), 0),
    ("said again (open-r1)", steps(f"1. {A}", f"2. {A}", f"3. {A}"), 1),
    ("said again otherwise", steps(f"1. {A}", f"- {A.upper()}!", f"Next, {A}"), 1),
    ("numbers that fall", steps(f"2. {A}", f"1. {B}", f"2. {C}"), 1),
    ("the same word", steps(f"First, {A}", f"First, {B}", f"First, {C}"), 1),
    ("decimals", steps(f"1.5 {A}", f"18. {B}", f"2,5 {C}"), 1),
    ("single letters", steps("- a b c", "- d e f", "- g h i"), 0),
    ("single letters, prefilled", "- a b c\n- d e f\n- g h i</think>", 0),
    ("one word again", steps("- so so so", "- is is is"), 0),
    ("numbers alone", steps("- 1 2 3", "- 4 5 6"), 0),
    ("letters and a number", steps("- a b 1", "- c d 2"), 0),
    ("signs alone", steps("- . . .", "- = = ="), 0),
    ("equations", steps("- x + y = 5", "- 2 + 2 = 4", "- x = 5 - y"), 3),
    ("short words", steps("- it is so", "- he is 18 now"), 2),
    ("a rule", steps("---", "***", "- - - -"), 0),
    ("nothing", "", 0),
]


@pytest.mark.parametrize(("completion", "count"), named(STEPS))
def test_reasoning_steps(completion, count):
    score = shaping.reasoning_steps_reward_func.score(completion)
    assert score.value == pytest.approx(count / 3)
    assert score.reason == ("no_steps", "few_steps", "few_steps", "enough_steps")[count]


def cosine(completion, tokens, answer="18", **options):
    function = ours("cosine_length", by=CORRECT, max_len=100, **options)
    return function.score(completion, answer=answer, completion_ids=[0] * tokens)


@pytest.mark.parametrize(
    ("completion", "tokens", "expected"),
    [
        (RIGHT, 0, 1.0),
        (RIGHT, 25, 0.5 + 0.25 * (1 + cos(pi / 4))),
        (RIGHT, 50, 0.75),
        (RIGHT, 100, 0.5),
        (RIGHT, 150, 0.5),  # open-r1: 0.75, because it does not clamp
        (RIGHT, 200, 0.5),  # open-r1: 1.0
        (WRONG, 0, -1.0),
        (WRONG, 50, -0.75),
        (WRONG, 100, -0.5),
        (WRONG, 200, -0.5),
        ("", 100, -0.5),
    ],
)
def test_cosine_length(completion, tokens, expected):
    assert cosine(completion, tokens).value == pytest.approx(expected)


def test_cosine_counts_tokens_not_characters():
    padded = RIGHT.replace("<answer>", "a" * 10_000 + "<answer>")
    assert cosine(padded, 10) == cosine(RIGHT, 10)


def test_cosine_values_are_options():
    values = {"max_value_correct": 2.0, "min_value_correct": 0.1, "min_value_wrong": -3.0}
    assert ours("cosine_length", by=CORRECT, max_len=9, **values).range == (-3.0, 2.0)
    assert cosine(RIGHT, 0, **values).value == 2.0
    assert cosine(WRONG, 0, **values).value == -3.0
    with pytest.raises(ValueError, match="max_len is 0"):
        ours("cosine_length", by=CORRECT, max_len=0)


def test_cosine_passes_options_to_inner_reward():
    by = "axolotl_grpo_plugin.rewards.format.hash_correctness_reward_func"
    function = ours("cosine_length", by=by, by_args={"prefilled": True}, max_len=9)
    assert function.score("#### 18", answer="18", completion_ids=[]) == (-1.0, "truncated", "")


def kimi(rows, answer="18", prompts=None):
    """Return the scores of rows: pairs of completion and number of tokens."""
    return ours("kimi_length", by=CORRECT).scores(
        prompts=prompts or ["p"] * len(rows),
        completions=[completion for completion, _ in rows],
        answer=[answer] * len(rows),
        completion_ids=[[0] * tokens for _, tokens in rows],
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(RIGHT, 10), (RIGHT, 20), (RIGHT, 30)], [0.5, 0.0, -0.5]),
        ([(WRONG, 10), (WRONG, 20), (WRONG, 30)], [0.0, 0.0, -0.5]),
        ([(WRONG, 10), (RIGHT, 15), (RIGHT, 30)], [0.0, 0.25, -0.5]),
        ([(RIGHT, 10), ("", 30)], [0.5, -0.5]),
        ([(RIGHT, 10), (WRONG, 10)], [0.0, 0.0]),
        ([(RIGHT, 10)], [0.0]),
        ([(RIGHT, 0), (RIGHT, 0)], [0.0, 0.0]),
    ],
)
def test_kimi_length(rows, expected):
    assert [each.value for each in kimi(rows)] == pytest.approx(expected)


def test_kimi_compares_within_one_prompt():
    """open-r1 compares lengths within the whole batch."""
    rows = [(RIGHT, 10), (RIGHT, 20), (RIGHT, 100), (RIGHT, 200)]
    scores = kimi(rows, prompts=["p", "p", "q", "q"])
    assert [each.value for each in scores] == [0.5, -0.5, 0.5, -0.5]


def gate(paid, completion, answer="18"):
    return ours("gated", reward=paid, by=CORRECT).score(completion, answer=answer)


SOFT = f"{GSM8K}.soft_format_reward_func"


@pytest.mark.parametrize(
    ("paid", "completion", "expected"),
    [
        (SOFT, f"<reasoning>a</reasoning>{RIGHT}", (0.25, "format", "")),
        (SOFT, f"<reasoning>a</reasoning>{WRONG}", (0.0, "gated", "")),
        (SOFT, RIGHT, (0.0, "other_layout", "")),
        (SOFT, "", (0.0, "gated", "")),
        (f"{GSM8K}.int_reward_func", WRONG, (0.0, "gated", "17")),
        (HERE, RIGHT + "18", (0.0, "ends", "")),
        (HERE, RIGHT, (-1.0, "other", "")),
        (HERE, WRONG, (-1.0, "other", "")),  # a wrong answer keeps its penalty
        (HERE, WRONG + "18", (0.0, "gated", "")),
    ],
)
def test_gated(paid, completion, expected):
    assert gate(paid, completion) == expected


def test_unreadable_gold_scores_none():
    """open-r1 gives 1.0 to all completions (cosine), or counts each as right (kimi)."""
    unread = (None, "bad_gold", "")
    assert cosine(RIGHT, 10, answer="?") == gate(SOFT, RIGHT, answer="?") == unread
    assert kimi([(RIGHT, 1), (WRONG, 2)], answer="?") == [unread] * 2


def test_length_rewards_keep_reason_and_answer():
    both = [(0.5, "correct", "18"), (-0.5, "wrong_value", "17")]
    assert [cosine(RIGHT, 100), cosine(WRONG, 100)] == kimi([(RIGHT, 1), (WRONG, 2)]) == both


def test_spec_of_shaped_rewards():
    function = ours("gated", reward=HERE, by=CORRECT)
    assert (function.spec.reads, function.range, function.spec.inline) == (("answer",), (-1.0, 0.0), False)
    assert {"ends", "other", "correct", "bad_gold", "gated"} <= set(function.spec.reasons)
    assert function.__name__ == "gated"
    inline = ours("gated", reward=SOFT, by=CORRECT)
    assert (inline.spec.range, inline.spec.inline) == ((0.0, 0.25), True)
    function = ours("cosine_length", by=CORRECT, max_len=9)
    assert (function.spec.reads, function.spec.inline) == (("answer", "completion_ids"), True)
    assert ours("kimi_length", by=CORRECT).spec.reads == ("answer", "completion_ids")


def test_slow_inner_reward_is_not_called_by_quick():
    by = "axolotl_grpo_plugin.rewards.gym.gym_reward_func"
    function = ours("cosine_length", by=by, max_len=100)
    entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {"source_dataset": "chain_sum"}}
    columns = {"entry": entry, "completion_ids": []}
    assert not function.spec.inline
    assert function.quick("<answer>5</answer>", **columns) == (1.0, "correct", "5")
    assert function.quick("<answer>four</answer>", **columns) is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cosine_length", {"by": "trl.rewards.accuracy_reward", "max_len": 9}),
        ("kimi_length", {"by": "trl.rewards.accuracy_reward"}),
        ("gated", {"reward": SOFT, "by": "trl.rewards.accuracy_reward"}),
        ("gated", {"reward": "trl.rewards.accuracy_reward", "by": CORRECT}),
    ],
)
def test_refuses_reward_without_decorator(name, arguments):
    with pytest.raises(FindingError, match=rf"{name}: trl.rewards.accuracy_reward does not score one"):
        ours(name, **arguments)


def test_names_path_of_unloadable_reward():
    with pytest.raises(FindingError, match=r"kimi_length: no.such: ModuleNotFoundError: No module"):
        ours("kimi_length", by="no.such")
    with pytest.raises(FindingError, match=rf"gated: {SOFT}: TypeError: .* no parameter 'x'"):
        ours("gated", reward=SOFT, by=CORRECT, reward_args={"x": 1})


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0), (101, -1.0), (10_000, -1.0)]
)
def test_trl_soft_overlong_punishment(tokens, expected):
    """Equation 13 of https://arxiv.org/abs/2503.14476, in tokens. No length gets a positive score."""
    overlong = made("trl.rewards.get_soft_overlong_punishment", max_completion_len=100, soft_punish_cache=20)
    assert overlong(completion_ids=[[0] * tokens]) == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], 0.0),
        ([1, 2], 0.0),
        ([1, 2, 3, 4, 5], 0.0),
        ([7] * 5, -1.0 + 1 / 3),
        ([7] * 1002, -0.999),
        ([1, 2, 3, 1, 2, 3], -0.25),  # four n-grams of three tokens, three of them different
    ],
)
def test_trl_repetition_penalty_counts_tokens(ids, expected):
    """Appendix C.2 of https://arxiv.org/abs/2502.03373: the share of repeated n-grams."""
    repetition = made("trl.rewards.get_repetition_penalty_reward", ngram_size=3, max_penalty=-1.0)
    assert repetition(completion_ids=[ids]) == [pytest.approx(expected)]
    assert repetition(completion_ids=[[0], ids])[1] == repetition(completion_ids=[ids])[0]


answers = st.sampled_from([RIGHT, WRONG, "", "<answer>", "</answer>"])
rows = st.lists(st.tuples(answers, st.integers(0, 30)))


@given(rows, st.randoms())
def test_permuted_group_permutes_scores(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    values = [score.value for score in kimi(rows)]
    moved = [score.value for score in kimi([rows[place] for place in order])]
    assert moved == [values[place] for place in order]
    assert all(-0.5 <= value <= 0.5 for value in values)


@given(st.integers(0, 99), st.integers(1, 99))
def test_longer_right_completion_earns_no_more(tokens, more):
    assert cosine(RIGHT, tokens + more).value <= cosine(RIGHT, tokens).value
    assert cosine(WRONG, tokens).value < cosine(RIGHT, tokens + more).value
