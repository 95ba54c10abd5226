from itertools import product

import pytest

from axolotl_grpo_plugin.checks.batch import (
    batch_of,
    check_batch,
    check_groups,
    check_rows,
    check_token_budget,
    name_run,
)
from axolotl_grpo_plugin.config import Config

EVAL = "eval_batch_size"
GROUP_REWARD = "tests.scoring.rewards_that_fail.the_first"


def config(micro=None, steps=None, group=None, rl="grpo", trl=None, **keys):
    sizes = {"micro_batch_size": micro, "gradient_accumulation_steps": steps}
    return {"rl": rl, "trl": {"num_generations": group, **(trl or {})}, **sizes, **keys}


def codes(cfg, ranks=1):
    return [(finding.code, finding.where) for finding in check_batch(Config(cfg), ranks)]


GROUP, TOTAL = "trl.num_generations", "trl.generation_batch_size"
EVALUATED = {"test_datasets": [{}], "eval_strategy": "steps"}


@pytest.mark.parametrize(
    "cfg, ranks, where, code",
    [
        (config(2, 1), 1, GROUP, "wrong-batch"),
        (config(8, 1, 1), 1, GROUP, "few-generations"),
        (config(4, 1, 4, trl={"generation_batch_size": 6}), 1, TOTAL, "wrong-batch"),
        (config(4, 1, 4, trl={"generation_batch_size": 4}), 2, TOTAL, "wrong-batch"),
        (config(8, None, 8, batch_size=64), 1, "batch_size", "unread-batch-size"),
        (config(8, 2, 16, **EVALUATED), 1, EVAL, "wrong-batch"),
        (config(16, 1, 16, val_set_size=0.1, eval_steps=5, eval_batch_size=20), 1, EVAL, "wrong-batch"),
        (config(8, 2, 16, **EVALUATED, grpo_trl_args={"num_generations_eval": 3}), 1, EVAL, "wrong-batch"),
    ],
)
def test_reports_sizes_that_hold_no_whole_groups(cfg, ranks, where, code):
    assert codes(cfg, ranks) == [(code, where)]


@pytest.mark.parametrize(
    "cfg, ranks",
    [
        (config(8, 1), 1),
        (config("8", "1", "8"), 1),
        (config(0, 1, 8), 1),  # for check_ranges
        (config(8, 2, 16, test_datasets=[{}], eval_strategy="no"), 1),
        (config(8, 2, 16, test_datasets=[{}]), 1),
        (config(8, 2, 16, **EVALUATED, grpo_trl_args={"num_generations_eval": "4"}), 1),
        (config(8, 2, 16, val_set_size=0.0, eval_steps=5), 1),
    ],
)
def test_accepts_sizes_that_hold_whole_groups(cfg, ranks):
    assert not codes(cfg, ranks)


def test_suggested_fix_works():
    """The value that a fix names, set alone, leaves no finding on that key."""
    tried = 0
    shapes = product((1, 2, 3, 4, 6), (1, 2, 3, 7), (2, 4, 6, 14), (False, True))
    for micro, ranks, group, evaluated in shapes:
        size = group if evaluated else None
        cfg = config(micro, 1, group, test_datasets=[{}], eval_steps=1, eval_batch_size=size)
        for finding in check_batch(Config(cfg), ranks):
            key, value = finding.fix.removeprefix("Set ").partition(",")[0].split(": ")
            left = codes({**cfg, key: int(value)}, ranks)
            assert (finding.code, finding.where) not in left
            tried += 1
    assert tried > 50


def test_describes_a_step():
    line = "64 completions per step: 4 prompts x 16 (micro_batch_size 8 x gradient_accumulation_steps 8 x 1 process)"
    assert str(batch_of(Config(config(8, 8, 16)), 1)) == line
    batch = batch_of(Config(config(4, 2, 8, trl={"generation_batch_size": 32})), 2)
    assert str(batch).endswith("x 2 processes), 32 generated at a time")
    assert str(batch).startswith("16 completions per step: 2 prompts x 8")


GROUPS = {"reward_funcs": [GROUP_REWARD]}


@pytest.mark.parametrize(
    "cfg, ranks, fix",
    [
        (config(4, 3, 8, trl=GROUPS), 2, "Set gradient_accumulation_steps to a multiple of 2"),
        (config(4, 4, 8, trl={**GROUPS, "generation_batch_size": 24}), 2, f"Set {TOTAL} to a multiple of 16"),
        (
            config(8, 1, 8, trl=GROUPS, eval_batch_size=4, val_set_size=0.1, eval_steps=5),
            2,
            "Set it to a multiple of 8",
        ),
        (config(4, 2, 8, trl=GROUPS), 2, ""),
        (config(4, 3, 8, trl={**GROUPS, "generation_batch_size": 16}), 2, ""),
        (config(4, 3, 8, trl=GROUPS, rl="gdpo"), 1, ""),
        (config(4, 3, 8, trl={"reward_funcs": ["tests.scoring.rewards_that_fail.late"]}), 2, ""),
        (config("a", 3, 8, trl=GROUPS), 2, ""),
    ],
)
def test_group_reward_needs_whole_groups_on_each_rank(cfg, ranks, fix):
    found = [(finding.code, finding.fix) for finding in check_groups(Config(cfg), ranks)]
    assert found == ([("split-groups", fix)] if fix else [])


RUN = config(2, 8, 15, base_model="Qwen/Qwen2.5-7B-Instruct", learning_rate="3e-6")


@pytest.mark.parametrize(
    "keys, environment, name",
    [
        ({"wandb_project": "gsm8k"}, {}, "Qwen2.5-7B-Instruct_lr_3e-6_bs_240_n_15"),
        ({"wandb_project": "gsm8k", "wandb_name": "mine"}, {}, "mine"),
        ({"wandb_project": "gsm8k"}, {"WANDB_NAME": "theirs"}, None),
        ({}, {}, None),
    ],
)
def test_run_on_wandb_without_a_name_is_named_by_its_settings(keys, environment, name, monkeypatch):
    monkeypatch.delenv("WANDB_NAME", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    cfg = {**RUN, **keys}
    name_run(Config(cfg), ranks=15)
    assert cfg.get("wandb_name") == name


def test_reports_a_dataset_too_short_for_a_batch():
    cfg = config(8, 4, 16)
    assert not [*check_rows(Config(cfg), 7, 14)]
    assert not [*check_rows(Config(cfg), 7, 0)]  # not counted
    (finding,) = check_rows(Config(cfg), 7, 13)
    assert finding.code == "too-few-rows"


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({}, ""),
        ({"trl": {"loss_type": "bnpo"}}, "the loss bnpo"),
        ({"trl": {"use_liger_loss": True}}, "Liger"),
        ({"grpo_packed_step": False}, "grpo_packed_step is false"),
        ({"torch_compile": True}, "torch_compile"),
        ({"trl": {"entropy_coef": 0.1}}, "entropy_coef"),
        ({"trl": {"use_adaptive_entropy": True}}, "use_adaptive_entropy"),
        ({"trl": {"entropy_coef": 0.0, "use_adaptive_entropy": False}}, ""),
        ({"grpo_trl_args": {"top_entropy_quantile": 0.2}}, "top_entropy_quantile"),
        ({"grpo_trl_args": {"top_entropy_quantile": 1.0}}, ""),
    ],
)
def test_token_budget_must_have_an_effect(changes, reason):
    findings = list(check_token_budget(Config({"grpo_tokens_per_pass": 8192, **changes})))
    assert [finding.code for finding in findings] == (["no-token-budget"] if reason else [])
    assert all(reason in finding.what for finding in findings)
    assert not list(check_token_budget(Config(changes)))
