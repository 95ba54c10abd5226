"""Trainings with Axolotl's data producer and async prefetch: resumed from a checkpoint, and with the packed step."""

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.e2e.conftest import ROOT, axolotl, held_out_answers, history, rollouts, shipped_config, write

STEPS, SAVED, PER_STEP, GROUP = 8, 3, 8, 8
MODEL = ROOT / "axolotl_grpo_plugin" / "quickstart" / "model" / "model.safetensors"
TRAIN = ROOT / "axolotl_grpo_plugin" / "quickstart" / "train.jsonl"


def train(folder):
    """Train on one row per prompt group of the epoch, in their order."""
    folder.mkdir()
    rows = folder / "rows.jsonl"
    rows.write_text("".join(TRAIN.read_text().splitlines(True)[: STEPS * PER_STEP]))
    config = shipped_config(
        trl__use_data_producer=True,
        trl__async_prefetch=True,
        trl__reward_weights=[0.5, 0.25, 0.25, 0.25, 0.125],
        curriculum_sampling=True,
        grpo_trl_args={"shuffle_dataset": False, "num_generations_eval": 4, "delta": "1e1"},
        grpo_rollouts=True,
        special_tokens={"eos_token": "<|im_start|>"},  # the model ends its answers with <|im_end|>
        save_strategy="steps",
        save_steps=SAVED,
        output_dir=str(folder / "out"),
        grpo_held_out_rows=16,
        max_steps=SAVED,
    )
    config["datasets"][0]["path"] = str(rows)
    printed = axolotl("train", write(folder, config))
    (folder / "printed.txt").write_text(printed)


def rows_of(logged, folder):
    """Return the numbers of the dataset's rows in the order of their steps."""
    questions = [json.loads(line)["question"] for line in (folder / "rows.jsonl").open()]
    prompts = logged.sort_values("step", kind="stable")["prompt"].tolist()
    return [next(number for number, question in enumerate(questions) if question in prompt) for prompt in prompts]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The folder of a run that ends after SAVED steps, and goes on from its checkpoint."""
    folder = tmp_path_factory.mktemp("async") / "run"
    train(folder)
    checkpoint = folder / "out" / f"checkpoint-{SAVED}"
    axolotl("train", folder / "config.yaml", "--max-steps", STEPS, "--resume-from-checkpoint", checkpoint)
    return folder


def test_async_prefetch_takes_each_row_once_and_goes_on_after_a_resume(resumed):
    logged = rollouts(resumed / "out")
    assert logged.groupby("step").size().to_dict() == dict.fromkeys(range(1, STEPS + 1), PER_STEP * GROUP)
    assert logged.groupby("step")["attempt"].max().tolist() == [1] * SAVED + [2] * (STEPS - SAVED)
    assert rows_of(logged, resumed) == [n for n in range(STEPS * PER_STEP) for _ in range(GROUP)]


def test_rollouts_of_async_prefetch_have_scores_and_advantages(resumed):
    logged = rollouts(resumed / "out")
    assert logged["advantage"].notna().all()
    assert logged.groupby(["step", "prompt"])["advantage"].sum().abs().max() < 1e-3
    assert logged["reason/correctness_reward_func"].notna().all()
    assert logged["advantage"].abs().max() > 0.5


def test_curves_of_async_prefetch_are_those_of_the_scored_rollouts(resumed):
    logged = rollouts(resumed / "out").query(f"step <= {2 * SAVED}")
    steps = logged.groupby("step")
    shown = history(resumed / "out", 2 * SAVED)  # also of the steps before the resume
    for name, expected in {
        "reward": steps["reward"].mean(),
        "reward_std": steps["reward"].std(),
        "completions/mean_length": steps["completion_tokens"].mean(),
    }.items():
        assert [step[name] for step in shown] == pytest.approx(expected.tolist(), abs=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(MODEL.parent)
    chats = logged["prompt"].map(json.loads).tolist()
    prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert shown[-1]["num_tokens"] == sum(map(len, prompts)) + logged["completion_tokens"].sum()


def test_async_prefetch_stops_at_an_end_token_that_only_the_model_names(resumed):
    assert rollouts(resumed / "out")["truncated"].mean() < 0.1


def test_held_out_rows_are_answered_beside_async_prefetch(resumed):
    answers = held_out_answers(resumed / "out")
    counts = Counter((answer["model"], answer["mode"]) for answer in answers)
    # Both parts of the run end with an answer to each row.
    assert counts == {
        (when, mode): 16 * times for when, times in (("before", 1), ("after", 2)) for mode in ("greedy", "sampled")
    }


def test_grpo_trl_args_reach_the_trainer(resumed):
    file = resumed / "out" / f"checkpoint-{SAVED}" / "training_args.bin"
    args = torch.load(file, weights_only=False)
    assert (args.num_generations_eval, args.shuffle_dataset, args.delta) == (4, False, 10.0)


# The packed step.


def check_packed(printed, steps):
    (speed,) = [line.split("speed")[1].strip() for line in printed.splitlines() if line.strip().startswith("speed")]
    assert speed == "pack, skip"
    for step in steps:
        assert 0 < step["tokens/computed"] < 0.8 * step["tokens/computed_by_trl"]


def test_async_prefetch_takes_the_packed_step(resumed):
    check_packed((resumed / "printed.txt").read_text(), history(resumed / "out", 2 * SAVED))


@pytest.fixture(scope="module")
def updates(tmp_path_factory):
    """What was printed, the folder and the change of the weights of a run with and without the packed step.

    Two steps train on each generation batch of two micro-batches.
    """
    found = {}
    before = load_file(MODEL)
    for packed in (True, False):
        folder = tmp_path_factory.mktemp("producer")
        config = shipped_config(
            trl__use_data_producer=True,
            trl__num_iterations=2,
            grpo_packed_step=packed,
            grpo_rollouts=True,
            grpo_held_out_rows=None,
            test_datasets=None,
            micro_batch_size=16,
            gradient_accumulation_steps=2,
            optimizer="sgd",
            learning_rate=0.01,
            lr_scheduler="constant",
            warmup_steps=None,
            max_grad_norm=1e6,  # clipping would hide a wrong scale
            max_steps=4,
            save_strategy="steps",
            save_steps=4,
            output_dir=str(folder / "out"),
        )
        printed = axolotl("train", write(folder, config))
        after = load_file(folder / "out" / "checkpoint-4" / "model.safetensors")
        change = torch.cat([(after[name] - before[name]).double().flatten() for name in sorted(after)])
        found[packed] = printed, folder / "out", change
    return found


def test_data_producer_takes_the_packed_step(updates):
    printed, folder, _ = updates[True]
    check_packed(printed, history(folder, 4))


def test_update_with_the_data_producer_is_that_of_axolotl(updates):
    texts = [rollouts(updates[packed][1]).query("step == 1")["completion"].tolist() for packed in (True, False)]
    assert texts[0] == texts[1] and len(texts[0]) == 32
    found, expected = (updates[packed][2] for packed in (True, False))
    assert expected.norm() > 1e-3
    assert (found - expected).norm() < 0.05 * expected.norm()
