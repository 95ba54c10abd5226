"""A resume inside a generation batch goes on with that batch, and then with the prompts of an undisturbed run."""

import pytest

from tests.e2e.conftest import axolotl, rollouts, shipped_config, write

SAVED, STEPS = 3, 8
PER_BATCH = 4  # steps that train on a generation batch: 2 parts, each of them twice


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The output folders of an undisturbed run, and of one that goes on from its checkpoint."""
    folder = tmp_path_factory.mktemp("resume")
    config = shipped_config(
        trl__num_iterations=2,
        trl__generation_batch_size=32,
        grpo_rollouts=True,
        grpo_held_out_rows=None,
        test_datasets=None,
        micro_batch_size=16,
        max_steps=STEPS,
        save_strategy="steps",
        save_steps=SAVED,
    )
    file = write(folder, config)
    axolotl("train", file, "--output-dir", folder / "whole")
    checkpoint = folder / "whole" / f"checkpoint-{SAVED}"
    axolotl("train", file, "--output-dir", folder / "resumed", "--resume-from-checkpoint", checkpoint)
    return folder / "whole", folder / "resumed"


def prompts(folder):
    """Return the sorted prompts of each generation batch, by its first step."""
    return rollouts(folder).groupby("step")["prompt"].agg(sorted).to_dict()


def test_no_batch_is_generated_before_the_saved_one_is_used_up(runs):
    whole, resumed = map(prompts, runs)
    assert list(whole) == [1, 1 + PER_BATCH]
    assert list(resumed) == [1 + PER_BATCH]


def test_later_batches_have_the_prompts_of_the_undisturbed_run(runs):
    whole, resumed = map(prompts, runs)
    assert resumed[1 + PER_BATCH] == whole[1 + PER_BATCH]


def test_only_a_checkpoint_inside_a_batch_has_a_batch(runs):
    assert [file.parent.name for file in runs[0].rglob("generation_batch_*")] == [
        f"checkpoint-{SAVED}",
        f"checkpoint-{2 * SAVED}",
    ]
