import inspect
import pickle

import pytest

from axolotl_grpo_plugin.reward import Score, reward


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
    assert (three.__name__, three.parameters, three.reads) == ("at_least", ("least",), ("answer",))


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
