"""Trainings with dynamic sampling: every group of a step differs in its first reward, and a run resumes."""

import pytest

from tests.e2e.conftest import axolotl, curves, rollouts, shipped_config, write

STEPS, HALF = 30, 15
GOOD = "reward/correctness_reward_func"


def run(folder, steps=STEPS, *options, **changes):
    """Train the quickstart with dynamic sampling."""
    changed = shipped_config(
        grpo_dynamic_sampling=True,
        grpo_rollouts=True,
        grpo_held_out_rows=None,
        test_datasets=None,
        save_strategy="steps",
        save_steps=HALF,
        max_steps=steps,
        output_dir=str(folder / "out"),
        **changes,
    )
    folder.mkdir()
    axolotl("train", write(folder, changed), *options)
    return folder / "out"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("sampling") / "first")


def test_dead_groups_are_replaced_in_most_steps(trained):
    curve = curves(trained)
    names = ("dead_before", "dead_after", "rounds", "used_tokens")
    before, after, rounds, shares = (curve[f"sampling/{name}"] for name in names)
    assert sum(before) > 5
    assert after.count(0.0) > 0.9 * STEPS
    assert [extra > 0 for extra in rounds] == [dead > 0 for dead in before]
    logged = rollouts(trained)
    kept = logged[~logged["discarded"]].groupby("step")["completion_tokens"].sum()
    expected = kept / logged.groupby("step")["completion_tokens"].sum()
    assert shares == pytest.approx([*expected], abs=1e-4)


def test_each_step_trains_on_whole_groups_that_differ_in_correctness(trained):
    logged = rollouts(trained)
    kept = logged[~logged["discarded"]]
    assert kept.groupby("step").size().to_dict() == dict.fromkeys(range(1, STEPS + 1), 64)
    groups = kept.groupby(["step", "prompt"])
    assert set(groups.size()) == {8}
    assert (groups[GOOD].nunique() > 1).mean() > 0.9
    assert kept["advantage"].notna().all() and (groups["advantage"].std() > 0).mean() > 0.9


def test_discarded_groups_stay_in_the_log_but_not_in_the_curves(trained):
    logged, curve = rollouts(trained), curves(trained)
    extra = len(logged) - 64 * STEPS
    assert logged["discarded"].sum() == extra
    # A round has about as many groups as there are dead ones, not a whole batch.
    assert 0 < extra < 2 * 8 * sum(curve["sampling/dead_before"])
    first = logged.groupby("step").head(64)  # without the extra rounds
    assert list(first.groupby("step")["reward"].mean()) == pytest.approx(curve["reward"], abs=1e-4)


@pytest.mark.slow
def test_resumed_run_draws_the_same_rows(trained, tmp_path):
    half = trained / f"checkpoint-{HALF}"
    resumed = run(tmp_path / "resumed", STEPS, "--resume-from-checkpoint", half)
    first, again = rollouts(trained), rollouts(resumed)
    later = first[first["step"] > HALF]
    assert list(again[again["step"] > HALF]["prompt"]) == list(later["prompt"])


@pytest.mark.slow
def test_data_producer_replaces_dead_groups(tmp_path):
    folder = run(tmp_path / "producer", 8, trl__use_data_producer=True)
    curve, logged = curves(folder), rollouts(folder)
    assert sum(curve["sampling/dead_before"]) > 0 and not any(curve["sampling/dead_after"])
    kept = logged[~logged["discarded"]]
    assert set(kept.groupby("step").size()) == {64}
    assert (kept.groupby(["step", "prompt"])[GOOD].nunique() > 1).all()
