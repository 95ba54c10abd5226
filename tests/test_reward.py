import inspect
import pickle

import pytest

from axolotl_grpo_plugin.reward import Score, group_reward, reward


@reward(range=(0.0, 1.0), reads="answer")
def ends_with(completion: str, answer: str) -> float:
    """1.0 where the completion ends with the answer."""
    return float(completion.endswith(answer))


@reward(range=(0.0, 1.0), reads=("low", "high"))
def between(completion: str, low: str, high: str) -> Score:
    return Score(1.0, "inside") if low <= completion <= high else Score(0.0, "outside")


@reward(range=(0.0, 1.0))
def speaks(completion: str) -> float:
    return float(bool(completion))


def test_one_score_a_completion_in_their_order():
    assert ends_with(["p"] * 3, ["ab", "a", "cb"], answer=["b", "b", "c"]) == [1.0, 0.0, 0.0]


def test_chat_messages_score_as_their_text():
    chat = [{"role": "assistant", "content": "a b "}]
    assert ends_with([[]], [chat], answer=["b"]) == ends_with([""], ["a b "], answer=["b"]) == [1.0]


def test_a_row_without_the_column_is_another_tasks():
    assert ends_with(["p"] * 2, ["ab", "ab"], answer=["b", None]) == [1.0, None]


def test_a_missing_column_is_named_with_those_that_are_there():
    with pytest.raises(ValueError, match=r"ends_with reads the column 'answer'.*it has: label\)"):
        ends_with(["p"], ["ab"], label=["b"], completion_ids=[[1]], trainer_state=None)


def test_a_column_of_another_length_is_no_broadcast():
    with pytest.raises(ValueError):
        ends_with(["p"] * 2, ["ab", "ab"], answer=["b"])


def test_reasons_go_to_the_completions_table():
    logged = {}
    between(
        ["p"] * 3,
        ["b", "z", "a"],
        low=["a"] * 3,
        high=["c", "c", None],
        log_extra=logged.__setitem__,
    )
    assert logged == {"between/reason": ["inside", "outside", "not_this_task"]}


def test_trl_and_axolotl_see_their_signature():
    assert list(inspect.signature(speaks).parameters) == ["prompts", "completions", "columns"]
    assert (speaks.__name__, ends_with.__doc__) == (
        "speaks",
        "1.0 where the completion ends with the answer.",
    )


def test_one_completion_can_be_scored():
    assert between.score("b", low="a", high="c") == Score(1.0, "inside")
    assert speaks.score("") == Score(0.0, "")


def test_an_async_scorer_is_refused():
    async def judge(completion):
        return 1.0

    with pytest.raises(TypeError, match="judge is async"):
        reward(range=(0.0, 1.0))(judge)


def test_it_pickles_by_its_path():
    assert pickle.loads(pickle.dumps(ends_with)) is ends_with


@reward(range=(0.0, 1.0), reads="answer", first=lambda text, answer, least=1: None)
def at_least(completion: str, answer: str, least: int = 1) -> Score:
    return Score(float(len(completion) >= least), "counted")


def test_options_are_bound_by_name_and_leave_the_reward_as_it_was():
    three = at_least.bind(least=3)
    assert three([""], ["ab"], answer=["x"]) == [0.0]
    assert at_least([""], ["ab"], answer=["x"]) == [1.0]
    assert (three.__name__, three.options, three.spec.reads) == (
        "at_least",
        {"least": 3},
        ("answer",),
    )
    assert at_least.options == {"least": 1}


def test_an_unknown_option_is_named_with_the_known_ones():
    with pytest.raises(TypeError, match=r"at_least has no parameter 'most' \(it has: least\)"):
        at_least.bind(most=3)
    with pytest.raises(TypeError, match=r"has no parameter 'answer'"):
        at_least.bind(answer="x")


def test_a_parameter_that_nothing_fills_is_refused():
    with pytest.raises(TypeError, match="the parameter 'answer' is neither a column"):

        @reward(range=(0.0, 1.0))
        def reads_nothing(completion: str, answer: str) -> float:
            return 0.0


def test_what_is_quick_is_said_and_the_rest_left():
    def first(text: str) -> Score | None:
        return Score(1.0, "short") if len(text) < 3 else None

    @reward(range=(0.0, 1.0), first=first)
    def slow(completion: str) -> Score:
        return Score(0.0, "slow")

    assert (slow.quick("ab"), slow.quick("abc")) == (Score(1.0, "short"), None)
    assert slow(["", ""], ["ab", "abc"]) == [1.0, 0.0]
    assert ends_with.quick("ab", answer="b") is None
    assert ends_with.quick("ab", answer=None) == Score(None, "not_this_task")


@reward(range=(0.0, 1.0), reads="answer", may_read=["hint"], group_by="answer")
def hinted(completion: str, answer: str, hint: str | None) -> float:
    return float(completion in (answer, hint))


def test_a_column_may_be_missing():
    assert hinted(["p"] * 2, ["a", "b"], answer=["c", "c"], hint=["a", None]) == [1.0, 0.0]
    assert hinted(["p"], ["c"], answer=["c"]) == [1.0]
    assert hinted.spec.group_by == "answer" and hinted.options == {}


@reward(range=(0.0, 1.0), reads="completion_ids")
def brief(completion: str, completion_ids: list[int], most: int = 2) -> float:
    return float(len(completion_ids) <= most)


def test_tokens_are_asked_for():
    assert brief(["p"] * 2, ["a", "b"], completion_ids=[[1, 2], [1, 2, 3]]) == [1.0, 0.0]
    assert brief.bind(most=3)(["p"], ["b"], completion_ids=[[1, 2, 3]]) == [1.0]


def test_ready_gets_the_options_that_it_takes():
    said = []

    @reward(range=(0.0, 1.0), ready=lambda most=1: said.append(most))
    def few(completion: str, most: int = 1, other: int = 2) -> float:
        return float(len(completion) <= most)

    few.ready()
    few.bind(most=5, other=3).ready()
    assert said == [1, 5]
    speaks.ready()


@group_reward(range=(0.0, 1.0), reads="weight", reasons=["shortest", "longer"])
def shortest(completions: list[str], weight: list[float], tie: float = 1.0) -> list[Score]:
    """The weight for the shortest of a group."""
    least = min(map(len, completions))
    return [
        Score(own * tie, "shortest") if len(each) == least else Score(0.0, "longer")
        for each, own in zip(completions, weight, strict=True)
    ]


def test_a_group_is_a_run_of_equal_prompts():
    prompts = [[{"role": "user", "content": text}] for text in "ppqq"]
    logged = {}
    scores = shortest(
        prompts, ["a ", "bb", "ccc", "dd"], weight=[1.0] * 4, log_extra=logged.__setitem__
    )
    assert scores == [1.0, 0.0, 0.0, 1.0]
    assert logged == {"shortest/reason": ["shortest", "longer", "longer", "shortest"]}
    assert shortest.bind(tie=0.5)(prompts, ["a", "bb", "ccc", "dd"], weight=[1.0] * 4) == [
        0.5,
        0.0,
        0.0,
        0.5,
    ]


def test_a_group_of_another_task_has_no_score():
    prompts = ["p", "p", "q", "q"]
    assert shortest(prompts, ["a", "bb", "c", "dd"], weight=[None, None, 1.0, 1.0]) == [
        None,
        None,
        1.0,
        0.0,
    ]


def test_a_group_scorer_gives_a_score_for_each():
    @group_reward(range=(0.0, 1.0))
    def forgets(completions: list[str]) -> list[float]:
        return [1.0]

    with pytest.raises(ValueError):
        forgets(["p"] * 2, ["a", "b"])


def test_a_group_reward_shows_trls_signature_and_its_options():
    assert list(inspect.signature(shortest).parameters) == ["prompts", "completions", "columns"]
    assert list(shortest.options) == ["tie"] and not shortest.spec.inline
    with pytest.raises(TypeError, match=r"shortest has no parameter 'ties' \(it has: tie\)"):
        shortest.bind(ties=1)


@group_reward(range=(0.0, 1.0), may_read=["bonus"])
def first_of(completions: list[str], bonus: list[float | None]) -> list[float]:
    return [bonus[0] or 0.0, *(0.0 for _ in completions[1:])]


def test_a_groups_column_may_be_missing():
    assert first_of(["p"] * 2, ["a", "b"], bonus=[1.0, None]) == [1.0, 0.0]
    assert first_of(["p"] * 2, ["a", "b"]) == [0.0, 0.0]
