"""The values in a config must match the annotations of a reward's parameters."""

import pytest

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.reward import reward

HERE = __name__
REWARDS = "axolotl_grpo_plugin.rewards"
JUDGE = f"{REWARDS}.judge.judge"
ADDRESS = {"model": "m", "base_url": "http://localhost:1/v1"}


@reward(range=(0.0, 1.0))
def own(completion, bare="", tag: str = None, kinds: "dict[str, int]" = "x", names: set = ()):  # noqa: RUF013
    return 0.0


def factory(words: list[str] | None = None, share: float = 0.5, span: tuple[float, float] = (0.0, 1.0), **more: int):
    return lambda prompts, completions, **columns: [0.0 for _ in completions]


def made(path, arguments):
    return load_reward(RewardRef(path, tuple(sorted(arguments.items()))))


@pytest.mark.parametrize(
    "path, arguments, message",
    [
        (
            f"{REWARDS}.format.tag_count_reward_func",
            {"prefilled": "no"},  # Python counts it as true
            "tag_count_reward_func: prefilled: 'no' is not of type bool",
        ),
        (f"{REWARDS}.puzzles.exact_reward_func", {"separator": None}, "separator: None is not of type str"),
        (JUDGE, {**ADDRESS, "sources": "stem*"}, r"sources: 'stem\*' is not of type Sequence\[str\] \| None"),
        (JUDGE, {**ADDRESS, "retries": 1.5}, "retries: 1.5 is not of type int"),
        (JUDGE, {**ADDRESS, "timeout": "1e1"}, "timeout: '1e1' is not of type float"),
        (JUDGE, {**ADDRESS, "timeout": True}, "timeout: True is not of type float"),
        (JUDGE, {**ADDRESS, "body": ["a"]}, r"body: \['a'\] is not of type Mapping\[str, Any\] \| None"),
        (f"{REWARDS}.dispatch.dispatch", {"routes": ["a"]}, "routes: .* is not of type Mapping"),
        ("trl.rewards.get_soft_overlong_punishment", {"max_completion_len": "9"}, "'9' is not of type int"),
        (f"{HERE}.own", {"tag": 3}, "own: tag: 3 is not of type str"),
        (f"{HERE}.factory", {"span": [0, "x"]}, r"span: \[0, 'x'\] is not of type tuple\[float, float\]"),
        (f"{HERE}.factory", {"words": "abc"}, r"factory: words: 'abc' is not of type list\[str\] \| None"),
    ],
)
def test_refuses_wrong_type(path, arguments, message):
    with pytest.raises(TypeError, match=message) as error:
        made(path, arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "path, arguments",
    [
        (JUDGE, {**ADDRESS, "timeout": 5, "body": {"n": 1}, "sources": ["a"]}),
        (f"{HERE}.own", {"bare": 3, "tag": None, "kinds": 4, "names": ["a"]}),
        (f"{HERE}.factory", {"words": None, "share": 1, "span": [0, 0.5]}),  # YAML has no tuples
    ],
)
def test_accepts_right_and_unknown_types(path, arguments):
    assert callable(made(path, arguments))


def test_refuses_name_without_module():
    with pytest.raises(FindingError, match=r"nowhere: not a dotted path. Write module\.function"):
        made("nowhere", {})
