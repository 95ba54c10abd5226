"""A few steps of the quickstarts with a tool and with an environment: the model uses them, and is paid for it."""

from tests.e2e.conftest import axolotl, curves, held_out_answers, shipped_config, write


def trained(folder, name, **changes):
    """Return the curves of three steps of a shipped config, and its answers to held-out rows before them."""
    folder.mkdir()
    small = {"micro_batch_size": 32, "max_steps": 3, "grpo_held_out_rows": 20, "output_dir": str(folder / "out")}
    axolotl("train", write(folder, shipped_config(name, **small, **changes)))
    answers = [answer for answer in held_out_answers(folder / "out") if answer["model"] == "before"]
    return curves(folder / "out"), answers


def used(answer):
    """Return the names of the tools in an answer."""
    turns = answer["completion"] if isinstance(answer["completion"], list) else []
    return [turn["name"] for turn in turns if turn["role"] == "tool"]


def test_quickstart_with_a_calculator_earns_what_the_model_cannot_compute(tmp_path):
    logged, answers = trained(tmp_path / "with", "tools/quickstart")
    alone, answers_alone = trained(tmp_path / "without", "tools/quickstart", grpo_tools=None)
    assert all(0 < calls < 2 * 32 for calls in logged["tools/calculator/calls"])  # sometimes, in 32 completions
    assert sum(logged["tools/calculator/errors"]) == 0
    assert any(used(answer) == ["calculator"] for answer in answers)
    assert not any("tools/" in name for name in alone) and not any(map(used, answers_alone))
    assert sum(logged["reward"]) > sum(alone["reward"])


def test_quickstart_with_an_environment_plays_several_turns(tmp_path):
    logged, answers = trained(tmp_path / "game", "environments/quickstart")
    assert all(calls > 32 for calls in logged["tools/guess/calls"])  # more than one for each completion
    assert logged["environment/lost"] == [0, 0, 0]
    assert all(-0.8 < reward < 1 for reward in logged["reward"])
    assert max(len(used(answer)) for answer in answers) == 3
    for answer in answers:
        assert (answer["reward/GuessNumber"] > 0) == ("correct" in str(answer["completion"]))
