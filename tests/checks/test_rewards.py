import pytest

from axolotl_grpo_plugin.checks import rewards as checks


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of a name that no other test uses, importable as from a working folder."""
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name, code: (tmp_path / f"{name}.py").write_text(code)


def rewards(*paths, **arguments):
    cfg = {
        "axolotl_config_path": "my.yaml",
        "trl": {"reward_funcs": list(paths)},
        "grpo_reward_args": dict.fromkeys(paths, arguments) if arguments else None,
    }
    return [str(finding) for finding in checks.check_rewards(cfg)]


def scoring(trl=None, **keys):
    return [str(finding) for finding in checks.check_scoring({"trl": trl or {}, **keys})]


def test_accepts_reward_paths_and_reward_models():
    assert not rewards(
        "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func",
        "builtins.max",
        "owner/a-reward-model-of-2.5-billion",
    )


def test_reports_a_wrong_number_of_weights():
    path = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
    trl = {"reward_funcs": [path], "reward_weights": [1.0, 2.0]}
    (finding,) = checks.check_rewards({"trl": trl})
    assert (finding.where, finding.what) == ("trl.reward_weights", "2 weights for 1 rewards")
    assert not list(checks.check_rewards({"trl": {**trl, "reward_weights": [0.5]}}))


def test_reports_file_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "mine.py").touch()
    (tmp_path / "mine_too.py").write_text("def fn(prompts, completions, **columns): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert not rewards("mine_too.fn")
    assert "Write it as rewards.mine.fn" in rewards("rewards/mine.fn")[0]
    assert not rewards("trl-lib/some-reward-model")


def test_reports_a_missing_module():
    (line,) = rewards("no_such_module.fn")
    assert line.startswith(
        "my.yaml: trl.reward_funcs[0] (no_such_module.fn): there is no module 'no_such_module'. "
    )


def test_reports_a_missing_function():
    (line,) = rewards("axolotl_grpo_plugin.rewards.gsm8k.corectness_reward_func")
    assert "Did you mean 'correctness_reward_func'" in line


def test_names_the_package_that_a_module_lacks(module):
    module("needs_something", "import no_such_package\n")
    (line,) = rewards("needs_something.fn")
    assert "needs_something cannot be imported, because it imports 'no_such_package'" in line
    assert 'needs_something.py", line 1' in line  # the original traceback


def test_names_the_error_of_a_module(module):
    module("raises", "1 / 0\n")
    (line,) = rewards("raises.fn")
    assert "raises cannot be imported: ZeroDivisionError: division by zero" in line


def test_reports_a_module_that_exits(module):
    module("exits", "import sys\nsys.exit(3)\n")
    assert "exits cannot be imported: SystemExit: 3" in rewards("exits.fn")[0]


@pytest.mark.parametrize("funcs", [5, [None], [{"a": 1}], [["x"]]])
def test_leaves_values_that_are_no_path_to_axolotl(funcs):
    cfg = {"trl": {"reward_funcs": funcs}, "grpo_reward_args": ["a"]}
    assert not list(checks.check_rewards(cfg))
    named = {**cfg, "grpo_reward_isolation": {"mine.fn": "inline"}}
    assert "no such reward" in str(*checks.check_scoring(named))


def test_reports_a_non_function_and_a_non_list():
    assert "not a function" in rewards("axolotl_grpo_plugin.completions.TAGS")[0]
    (finding,) = checks.check_rewards({"trl": {"reward_funcs": "mine.reward"}})
    assert str(finding) == 'trl.reward_funcs (mine.reward): not a list. Put "- " before it.'


TRLS = "trl.rewards.get_soft_overlong_punishment"


def test_factory_gets_its_parameters():
    assert not rewards(TRLS, max_completion_len=512, soft_punish_cache=64)
    assert "needs: soft_punish_cache" in rewards(TRLS, max_completion_len=512)[0]
    (line,) = rewards(TRLS, max_completion_len=512, soft_punish_cache=64, soft_punish=1)
    assert "get_soft_overlong_punishment has no parameter 'soft_punish'" in line


def test_reports_an_unknown_parameter(module):
    module("plain_reward", "def fn(prompts, completions, most=1, **columns): return []\n")
    assert not rewards("plain_reward.fn", most=2)
    assert "fn has no parameter 'least' (it has: most)" in rewards("plain_reward.fn", least=2)[0]
    ours = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
    assert (
        "int_reward_func has no parameter 'max_len' (it has: none)" in rewards(ours, max_len=1)[0]
    )


def test_reports_functions_that_trl_cannot_call(module):
    module("narrow", "def fn(prompts, completions): ...\ndef make():\n    return 3\n")
    assert "cannot be called as TRL does" in rewards("narrow.fn")[0]
    assert "cannot be called as TRL does" in rewards("narrow.make")[0]
    assert "There are: fn, make." in rewards("narrow.xyz")[0]
    assert "Write it as module.function" in rewards("make")[0]


def test_names_the_error_of_a_factory(module):
    module("broken_factory", "def make(size=0):\n    return 1 / size\n")
    assert "raised ZeroDivisionError: division by zero" in rewards("broken_factory.make")[0]


def test_same_function_twice_needs_aliases(module):
    module("twice", "def fn(prompts, completions, most=1, **columns): return []\n")
    assert not rewards("twice.fn#one", "twice.fn#two")
    assert (
        "my.yaml: trl.reward_funcs[1] (twice.fn): is there twice"
        in rewards("twice.fn", "twice.fn")[0]
    )


def test_refuses_the_same_alias_twice(module):
    module("alike", "def fn(prompts, completions, **columns): return []\n")
    assert "its alias is there twice" in rewards("alike.fn#a", "builtins.max#a")[0]


def test_refuses_context_parallel_training():
    assert "does not call the guarded rewards" in scoring(context_parallel_size=2)[0]
    assert "does not call the guarded rewards" in scoring(context_parallel_size="2")[0]
    assert not scoring(context_parallel_size=1) + scoring(context_parallel_size="1")


def test_reports_options_of_unknown_rewards():
    trl = {"reward_funcs": ["mine.fn#a"]}
    assert not scoring(trl, grpo_reward_args={"mine.fn#a": {}}, grpo_reward_isolation="inline")
    assert (
        "grpo_reward_args (mine.fn): no such reward. Did you mean 'mine.fn#a'"
        in scoring(trl, grpo_reward_args={"mine.fn": {}})[0]
    )
    assert scoring(trl, grpo_reward_isolation={"x": "inline"})


def test_batch_timeout_must_be_below_ddp_timeout():
    assert not scoring(grpo_reward_batch_timeout=900)
    assert "more than half of ddp_timeout (1800 s)" in scoring(grpo_reward_batch_timeout=901)[0]
    assert scoring(grpo_reward_batch_timeout=31, ddp_timeout="60")
    assert not scoring(grpo_reward_batch_timeout=60, ddp_timeout="3600")


def test_refuses_async_prefetch_that_crashes_axolotl():
    assert "crashes at its first rollout" in scoring({"async_prefetch": True})[0]
    assert not scoring({"async_prefetch": True, "streaming_partial_batch": True})
    assert not scoring({"use_data_producer": True})


def test_reports_a_factory_that_exits_or_raises(module):
    module("ends_all", "def make():\n    raise SystemExit('enough')\n")
    assert (
        "(ends_all.make): it makes a reward, and raised SystemExit: enough. Fix"
        in rewards("ends_all.make")[0]
    )
    module("says_much", "def make():\n    raise RuntimeError('one\\ntwo')\n")
    assert "raised RuntimeError: one. Fix its block" in rewards("says_much.make")[0].split("\n")[0]


def test_reports_an_option_that_is_no_text():
    cfg = {"trl": {"reward_funcs": [TRLS]}, "grpo_reward_args": {TRLS: {1: 2, "x": 3}}}
    assert "has no parameter" in str(*checks.check_rewards(cfg))
    assert not list(checks.check_scoring(cfg))


READY = """
from axolotl_grpo_plugin.reward import reward

def needs(error):
    def ready():
        raise error
    return reward(range=(0.0, 1.0), ready=ready)(lambda completion: 0.0)

mended = needs(RuntimeError("nothing answers at http://a.b. Start it."))
bare = needs(RuntimeError("nothing answers"))
broken = needs(OSError("a bug of its own"))
fine = reward(range=(0.0, 1.0), ready=lambda: None)(lambda completion: 0.0)
"""


@pytest.mark.parametrize("level", ["error", "skipped"])
def test_reports_rewards_that_are_not_ready(module, level):
    module("ready_or_not", READY)
    keys = [f"ready_or_not.{name}" for name in ("mended", "bare", "broken", "fine")]
    found = list(checks.check_ready({"trl": {"reward_funcs": [*keys, "owner/a-model"]}}, level))
    assert {each.level for each in found} == {level}
    assert [str(each) for each in found] == [
        "trl.reward_funcs[0] (ready_or_not.mended): nothing answers at http://a.b. Start it.",
        "trl.reward_funcs[1] (ready_or_not.bare): nothing answers. Fix that first.",
        "trl.reward_funcs[2] (ready_or_not.broken): its `ready` raised OSError: a bug of its own. "
        "Fix that first.",
    ]
