import sys
from itertools import count

import pytest

from axolotl_grpo_plugin.checks import rewards as checks
from axolotl_grpo_plugin.config import Config
from tests.checks.found import codes, levels

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
INT = f"{GSM8K}.int_reward_func"
XMLCOUNT = "axolotl_grpo_plugin.rewards.gsm8k.xmlcount_reward_func"
OVERLONG = "trl.rewards.get_soft_overlong_punishment"
NUMBERS = count()
SOUND = "def fn(prompts, completions, most=1, **columns): return []\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported, and return its name, which no other test uses."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code):
        name = f"own_reward_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(code)
        return name

    return write


def rewards(*paths, **arguments):
    cfg = {
        "trl": {"reward_funcs": list(paths)},
        "grpo_reward_args": dict.fromkeys(paths, arguments) if arguments else None,
    }
    return [str(finding) for finding in checks.check_rewards(Config(cfg))]


def scoring(trl=None, **keys):
    return codes(checks.check_scoring(Config({"trl": trl or {}, **keys})))


def test_end_at_a_share_needs_a_reward_that_says_what_is_right(module):
    def found(first):
        cfg = {"trl": {"reward_funcs": [first, INT]}, "grpo_stop_at": 0.9}
        return codes(checks.check_stop_at(Config(cfg)))

    assert found(f"{module(SOUND)}.fn") == ["no-range"] and found(XMLCOUNT) == []


def test_accepts_reward_paths_and_reward_models(module):
    assert not rewards(INT, XMLCOUNT, "owner/a-reward-model-of-2.5-billion")
    assert not rewards(f"{module(SOUND)}.fn", most=2)
    assert not rewards(OVERLONG, max_completion_len=512, soft_punish_cache=64)


@pytest.mark.parametrize(
    "path, words",
    [
        ("no_such_module.fn", "trl.reward_funcs[0] (no_such_module.fn): there is no module 'no_such_module'. "),
        (f"{GSM8K}.corectness_reward_func", "Did you mean `correctness_reward_func`?"),
        ("axolotl_grpo_plugin.completions.TAGS", "'TAGS' is not a function"),
        ("make", "Write it as module.function"),
        ("./models/no-such-model", "no such folder, and no name on the hub"),
        ("rewards/mine/fn", "Write a function as module.function"),
    ],
)
def test_reports_a_wrong_path(path, words):
    (line,) = rewards(path)
    assert words in line


@pytest.mark.parametrize(
    "code, words",
    [
        ("import no_such_package\n", "cannot be imported, because it imports 'no_such_package'"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit: 3"),
        ("def fn(prompts, completions): ...\n", "cannot be called as TRL does"),
        (
            "def fn(completion, a): ...\n",
            'fn: it scores one completion, but TRL passes a batch. Add @reward(range=(0.0, 1.0), reads=["a"])',
        ),
        ("def fn():\n    return 3\n", "cannot be called as TRL does"),
        ("def other(): ...\ndef more(): ...\n", "Valid names: more, other."),
        ("def fn(size=0):\n    return 1 / size\n", "raised ZeroDivisionError: division by zero"),
        ("def fn():\n    raise SystemExit('enough')\n", "raised SystemExit: enough. Correct"),
        ("def fn():\n    raise RuntimeError('one\\ntwo')\n", "RuntimeError: one. Correct its options"),
    ],
)
def test_reports_a_broken_module_or_function(module, code, words):
    name = module(code)
    (line,) = rewards(f"{name}.fn")
    assert words in line.split("\n")[0]
    assert ("Traceback" not in line) or f'{name}.py", line' in line  # the user's own code


def test_reports_file_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("rewards", "rewards.mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "rewards" / "mine.py").write_text("def one(): ...\ndef two(): ...\n")
    assert "Write it as rewards.mine.fn." in rewards("rewards/mine.fn")[0]
    assert "Write it as rewards.mine.fn." in rewards("rewards/mine.py:fn")[0]
    (line,) = rewards("rewards/mine.py")
    assert line.endswith("Write it as rewards.mine.one or rewards.mine.two.")


def test_reports_values_that_are_not_a_list():
    assert codes(checks.check_rewards(Config({"trl": {"reward_funcs": "mine.reward"}}))) == ["no-list"]


def test_reports_a_wrong_number_of_weights():
    trl = {"reward_funcs": [INT], "reward_weights": [1.0, 2.0]}
    assert codes(checks.check_rewards(Config({"trl": trl}))) == ["other-weights"]
    assert not list(checks.check_rewards(Config({"trl": {**trl, "reward_weights": [0.5]}})))


@pytest.mark.parametrize("weight", [0, "nan", float("inf")])
def test_reports_weights_that_leave_no_reward(weight):
    trl = {"reward_funcs": [INT], "reward_weights": [weight]}
    assert codes(checks.check_rewards(Config({"trl": trl}))) == ["no-weight"]


def test_reports_missing_and_unknown_parameters(module):
    assert "needs: soft_punish_cache" in rewards(OVERLONG, max_completion_len=512)[0]
    (line,) = rewards(OVERLONG, max_completion_len=512, soft_punish_cache=64, soft_punish=1)
    assert "get_soft_overlong_punishment has no parameter 'soft_punish'" in line
    assert "has no parameter 'least' (it has: most)" in rewards(f"{module(SOUND)}.fn", least=2)[0]
    (line,) = rewards(INT, max_len=1)
    assert "int_reward_func has no parameter 'max_len' (it has: none)" in line
    cfg = {"trl": {"reward_funcs": [OVERLONG]}, "grpo_reward_args": {OVERLONG: {1: 2, "x": 3}}}
    assert codes(checks.check_rewards(Config(cfg))) == ["wrong-option"]


def test_same_function_twice_needs_aliases(module):
    path = f"{module(SOUND)}.fn"
    assert not rewards(f"{path}#one", f"{path}#two")
    assert f"trl.reward_funcs[1] ({path}): named twice" in rewards(path, path)[0]
    assert "named twice" in rewards(f"{path}#a", f"{XMLCOUNT}#a")[0]


@pytest.mark.parametrize("path", ["trl.rewards.think_format_reward", "trl.rewards.think_format_reward#alias"])
@pytest.mark.parametrize(
    "written, found",
    [
        ([0.0, 1.0], None),
        (["0", 1e9], None),
        ([1.0, 0.0], "[1.0, 0.0] is no range"),
        ([0.0, 0.0], "[0.0, 0.0] is no range"),
        ([0.0], "[0.0] is no range"),
        (1.0, "1.0 is no range"),
        ([0.0, ".inf"], "[0.0, '.inf'] is no range"),
        ([0.0, float("inf")], "[0.0, inf] is no range"),
    ],
)
def test_range_of_a_function_that_declares_none(path, written, found):
    cfg = Config({"trl": {"reward_funcs": [path]}, "grpo_reward_range": {path: written}})
    findings = [str(finding) for finding in [*checks.check_scoring(cfg), *checks.check_rewards(cfg)]]
    fix = "Write [lowest, highest] for a reward function, such as [0.0, 1.0]."
    assert findings == ([f"grpo_reward_range ({path}): {found}. {fix}"] if found else [])


def test_range_of_a_reward_that_has_one_or_is_no_function():
    cfg = Config({"trl": {"reward_funcs": [INT]}, "grpo_reward_range": {INT: [0, 2]}})
    (finding,) = checks.check_rewards(cfg)
    where = f"trl.reward_funcs[0] ({INT}): grpo_reward_range"
    assert str(finding) == f"{where}: the reward declares its range itself: (0.0, 0.5). Remove it there."
    assert scoring({"reward_funcs": ["owner/model"]}, grpo_reward_range={"owner/model": [0, 1]}) == ["wrong-range"]
    assert scoring({"reward_funcs": [INT]}, grpo_reward_range={"int": [0, 1]}) == ["unknown-reward"]


def test_refuses_context_parallel_training():
    assert scoring(context_parallel_size=2) == scoring(context_parallel_size="2") == ["unguarded"]
    assert not scoring(context_parallel_size=1) + scoring(context_parallel_size="1")


def test_reports_options_of_unknown_rewards():
    trl = {"reward_funcs": ["mine.fn#a"]}
    assert not scoring(trl, grpo_reward_args={"mine.fn#a": {}}, grpo_reward_isolation="inline")
    assert scoring(trl, grpo_reward_args={"mine.fn": {}}) == ["unknown-reward"]
    assert scoring(trl, grpo_reward_isolation={"x": "inline"}) == ["unknown-reward"]


def test_async_prefetch_needs_the_data_producer():
    assert scoring({"async_prefetch": True}) == ["same-prompts"]
    assert not scoring({"async_prefetch": True, "use_data_producer": True})
    assert not scoring({"use_data_producer": True})


READY = """
from axolotl_grpo_plugin.reward import reward

def needs(error):
    def ready():
        raise error
    return reward(range=(0.0, 1.0), ready=ready)(lambda completion: 0.0)

with_fix = needs(RuntimeError("nothing answers at http://a.b. Start it."))
bare = needs(RuntimeError("nothing answers"))
broken = needs(OSError("a bug of its own"))
fine = reward(range=(0.0, 1.0), ready=lambda: None)(lambda completion: 0.0)
"""


@pytest.mark.parametrize("level", ["error", "skipped"])
def test_reports_rewards_that_are_not_ready(module, level):
    name = module(READY)
    keys = [f"{name}.{reward}" for reward in ("with_fix", "bare", "broken", "fine")]
    found = list(checks.check_ready(Config({"trl": {"reward_funcs": [*keys, "owner/a-model"]}}), level))
    assert levels(found) == [(level, "not-ready")] * 3
    assert [finding.what for finding in found] == [
        "nothing answers at http://a.b. Start it.",
        "nothing answers",
        "its `ready` raised OSError: a bug of its own",
    ]
