"""`grpo_advantage` in real trainings: the logged advantages are those of the scores, whatever trainer makes them."""

import pytest

from tests.e2e.conftest import axolotl, rollouts, shipped_config, write

STEPS = 3
PRODUCER = {"trl__use_data_producer": True}
TRAINERS = [
    pytest.param({}, id="synchronous"),
    pytest.param(PRODUCER, id="producer", marks=pytest.mark.slow),
    pytest.param({**PRODUCER, "trl__async_prefetch": True}, id="prefetch", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("estimator", ["rloo", pytest.param("maxrl", marks=pytest.mark.slow)])
@pytest.mark.parametrize("keys", TRAINERS)
def test_logged_advantages_are_those_of_the_scores(keys, estimator, tmp_path):
    config = shipped_config(
        grpo_advantage=estimator,
        grpo_rollouts=True,
        grpo_held_out_rows=None,
        test_datasets=None,
        max_steps=STEPS,
        output_dir=str(tmp_path / "out"),
        **keys,
    )
    axolotl("train", write(tmp_path, config), cwd=tmp_path)
    logged = rollouts(tmp_path / "out")
    names = [name for name in logged if name.startswith("reward/")]
    logged["total"] = logged[names].sum(axis=1)
    groups = logged.groupby(["step", "prompt"])["total"]
    mean, count = groups.transform("mean"), groups.transform("size")
    expected = (logged["total"] - mean) * count / (count - 1)
    if estimator == "maxrl":
        expected = ((logged["total"] - mean) / mean).fillna(0.0)
    assert set(count) == {8} and expected.abs().max() > 0.5
    assert logged["advantage"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
