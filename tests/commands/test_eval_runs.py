import json

import pytest
import yaml

from axolotl_grpo_plugin.runlog.schema import columns_of, save
from axolotl_grpo_plugin.training.record import HELD_OUT
from tests.conftest import invoke
from tests.report.test_tables import REWARDS, greedy


@pytest.fixture
def runs(tmp_path):
    """Three runs, whose seeds end at 60, 70 and 66 % right."""
    folders = []
    for seed, after in ((1, 60), (2, 70), (3, 66)):
        folder = tmp_path / f"s{seed}"
        answers = [{**row, "prompt": "p", "completion": "c"} for row in greedy(before=40, after=after)]
        (folder / HELD_OUT).parent.mkdir(parents=True)
        save(folder / HELD_OUT, columns_of(answers), REWARDS)
        config = {"base_model": "m", "seed": seed, "output_dir": str(folder)}
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        folders.append(folder)
    return folders


def test_pools_runs(runs):
    screen = invoke("eval", "--runs", *runs).output
    assert "after against before: +25.3 points (range +20 to +30" in " ".join(screen.split())
    assert "differ" not in screen
    pooled = json.loads(invoke("eval", "--runs", *runs, "--json").output)
    assert pooled["parts"][0]["change"]["mean"] == pytest.approx(0.2533, abs=1e-4)
    assert list(pooled["seeds"].values()) == [1, 2, 3]


def test_warns_of_runs_that_are_no_seeds_of_one_config(runs):
    (runs[1] / "run.yaml").write_text(yaml.safe_dump({"base_model": "other", "seed": 1}))
    screen = invoke("eval", "--runs", *runs).output
    assert "The runs also differ in base_model" in screen
    assert "Two runs have the same seed" in screen


def test_refuses_folders_without_results(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no answers of two models" in invoke("eval", "--runs", runs[0], tmp_path / "empty", code=1).output


def test_a_folder_or_several_configs_need_the_option(runs):
    assert "write --runs" in invoke("eval", runs[0], code=2).output
    assert "--runs takes several" in invoke("eval", runs[0], runs[1], code=2).output
