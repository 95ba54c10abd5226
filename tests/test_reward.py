import inspect
import pickle

import pytest

from axolotl_grpo_plugin.reward import Score, Spec, group_reward, reward


@reward(range=(0.0, 1.0), reads="answer")
def ends_with(completion, answer):
    """Return 1.0 if the completion ends with the answer."""
    return float(completion.endswith(answer))


@reward(range=(0.0, 1.0), reads=("low", "high"))
def between(completion, low, high):
    return Score(1.0, "inside") if low <= completion <= high else Score(0.0, "outside")


@reward(range=(0.0, 1.0))
def speaks(completion):
    return float(bool(completion))


def test_returns_one_score_per_completion_in_order():
    scores = ends_with(["p"] * 4, ["ab", "a", "cb", "ab"], answer=["b", "b", "c", None])
    assert scores == [1.0, 0.0, 0.0, None], "a row without the column has no score"


def test_names_missing_and_present_columns():
    with pytest.raises(ValueError, match=r"ends_with reads the column 'answer'.*it has: label\)"):
        ends_with(["p"], ["ab"], label=["b"], completion_ids=[[1]], trainer_state=None)


def test_refuses_column_of_another_length():
    with pytest.raises(ValueError):
        ends_with(["p"] * 2, ["ab", "ab"], answer=["b"])


def test_logs_reasons_in_completions_table():
    logged = {}
    between(["p"] * 3, ["b", "z", "a"], low=["a"] * 3, high=["c", "c", None], log_extra=logged.__setitem__)
    assert logged == {"between/reason": ["inside", "outside", "not_this_task"]}


def test_has_trls_signature():
    for made in (speaks, shortest):
        assert list(inspect.signature(made).parameters) == ["prompts", "completions", "columns"]
    assert (speaks.__name__, ends_with.__doc__) == ("speaks", "Return 1.0 if the completion ends with the answer.")


def test_refuses_async_scorer():
    async def judge(completion):
        return 1.0

    with pytest.raises(TypeError, match="judge is async"):
        reward(range=(0.0, 1.0))(judge)


def test_pickles_by_path():
    assert pickle.loads(pickle.dumps(ends_with)) is ends_with


@reward(range=(0.0, 1.0), reads="answer", first=lambda text, answer, least=1: None)
def at_least(completion, answer, least=1):
    return Score(float(len(completion) >= least), "counted")


def test_bind_returns_reward_with_options():
    three = at_least.bind(least=3)
    assert three([""], ["ab"], answer=["x"]) == [0.0]
    assert at_least([""], ["ab"], answer=["x"]) == [1.0]
    assert (three.__name__, three.options, three.spec.reads) == ("at_least", {"least": 3}, ("answer",))
    assert at_least.options == {"least": 1}


def test_names_unknown_and_known_options():
    with pytest.raises(TypeError, match=r"at_least has no parameter 'most' \(it has: least\)"):
        at_least.bind(most=3)
    with pytest.raises(TypeError, match=r"has no parameter 'answer'"):
        at_least.bind(answer="x")


def test_refuses_option_that_is_passed_like_a_column():
    with pytest.raises(TypeError, match=r"'least' is an option.*`at_least\.bind\(least=3\)`"):
        at_least(["p"], ["abc"], least=3)


def test_refuses_parameter_without_value():
    with pytest.raises(TypeError, match="the parameter 'answer' is not a column"):

        @reward(range=(0.0, 1.0))
        def reads_nothing(completion, answer):
            return 0.0


def test_quick_returns_none_if_first_cannot_decide():
    def first(text):
        return Score(1.0, "short") if len(text) < 3 else None

    @reward(range=(0.0, 1.0), first=first)
    def slow(completion):
        return Score(0.0, "slow")

    assert (slow.quick("ab"), slow.quick("abc")) == (Score(1.0, "short"), None)
    assert slow(["", ""], ["ab", "abc"]) == [1.0, 0.0]
    assert ends_with.quick("ab", answer="b") is None
    assert ends_with.quick("ab", answer=None) == Score(None, "not_this_task")


@reward(range=(0.0, 1.0), reads="answer", may_read=["hint"], group_by="answer")
def hinted(completion, answer, hint):
    return float(completion in (answer, hint))


def test_optional_column_may_be_missing():
    assert hinted(["p"] * 2, ["a", "b"], answer=["c", "c"], hint=["a", None]) == [1.0, 0.0]
    assert hinted(["p"], ["c"], answer=["c"]) == [1.0]
    assert hinted.spec.group_by == "answer" and hinted.options == {}


@reward(range=(0.0, 1.0), reads="completion_ids")
def brief(completion, completion_ids, most=2):
    return float(len(completion_ids) <= most)


def test_reads_completion_ids():
    assert brief(["p"] * 2, ["a", "b"], completion_ids=[[1, 2], [1, 2, 3]]) == [1.0, 0.0]
    assert brief.bind(most=3)(["p"], ["b"], completion_ids=[[1, 2, 3]]) == [1.0]


def test_ready_gets_its_options():
    said = []

    @reward(range=(0.0, 1.0), ready=lambda most=1: said.append(most))
    def few(completion, most=1, other=2):
        return float(len(completion) <= most)

    few.ready()
    few.bind(most=5, other=3).ready()
    assert said == [1, 5]
    speaks.ready()


@group_reward(range=(0.0, 1.0), reads="weight", reasons=["shortest", "longer"])
def shortest(completions, weight, tie=1.0):
    least = min(map(len, completions))
    return [
        Score(own * tie, "shortest") if len(text) == least else Score(0.0, "longer")
        for text, own in zip(completions, weight, strict=True)
    ]


def test_group_is_a_series_of_equal_prompts():
    prompts = [[{"role": "user", "content": text}] for text in "ppqq"]
    logged = {}
    scores = shortest(prompts, ["a ", "bb", "ccc", "dd"], weight=[1.0] * 4, log_extra=logged.__setitem__)
    assert scores == [1.0, 0.0, 0.0, 1.0]
    assert logged == {"shortest/reason": ["shortest", "longer", "longer", "shortest"]}
    assert shortest.bind(tie=0.5)(prompts, ["a", "bb", "ccc", "dd"], weight=[1.0] * 4) == [0.5, 0.0, 0.0, 0.5]


def test_group_of_another_task_scores_none():
    prompts = ["p", "p", "q", "q"]
    assert shortest(prompts, ["a", "bb", "c", "dd"], weight=[None, None, 1.0, 1.0]) == [None, None, 1.0, 0.0]


@group_reward(range=(0.0, 1.0), may_read=["bonus"])
def first_of(completions, bonus):
    return [bonus[0] or 0.0, *(0.0 for _ in completions[1:])]


def test_optional_column_of_group_may_be_missing():
    assert first_of(["p"] * 2, ["a", "b"], bonus=[1.0, None]) == [1.0, 0.0]
    assert first_of(["p"] * 2, ["a", "b"]) == [0.0, 0.0]


def test_refuses_several_names_in_one_text():
    with pytest.raises(TypeError, match=r"reasons: 'right wrong' is one text\. Write a tuple of names"):
        Spec(reasons="right wrong")
