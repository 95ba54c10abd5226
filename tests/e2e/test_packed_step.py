"""The gradient of an optimizer step is TRL's, for each loss and option, with fewer computed tokens."""

import json
import logging
import math
from itertools import product
from statistics import geometric_mean

import pytest

from tests.conftest import Later
from tests.e2e.conftest import torchrun
from tests.engines.sharded import ENGINE_TYPES

gradients = Later("tests.e2e.gradients")
layouts = Later("axolotl_grpo_plugin.training.packed_step.layout")
attention = Later("axolotl_grpo_plugin.training.packed_step.attention")
models = Later("axolotl_grpo_plugin.training.packed_step.model")
support = Later("axolotl_grpo_plugin.training.packed_step.support")
torch = Later("torch")
transformers = Later("transformers")

LOSSES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
SOME = ("grpo", "dapo", "bnpo")
CLOSE = 1e-5
SETTINGS = [
    *({"loss_type": loss, "beta": beta} for loss, beta in product(LOSSES, (0.0, 0.04))),
    *({"loss_type": loss, "mask_truncated_completions": True} for loss in SOME),
    *({"loss_type": loss, "mask_truncated_completions": True, "beta": 0.04} for loss in SOME),
    *({"loss_type": loss, "tools": True} for loss in SOME),
    *({"loss_type": loss, "num_iterations": 2, "steps": 2} for loss in SOME),
    *({"loss_type": loss, "vllm": True} for loss in (*SOME, "vespo", "cispo")),
    *({"loss_type": loss, "steps_per_generation": 8, "accumulation": 4} for loss in SOME),
    {"loss_type": "dapo", "vllm": True, "tools": True, "importance_sampling_level": "sequence"},
    {"loss_type": "dapo", "vllm": True, "vllm_importance_sampling_mode": "sequence_mask"},
    {"loss_type": "dapo", "vllm": True, "off_policy_mask_threshold": 0.5},
    {"loss_type": "grpo", "pad_to_multiple_of": 8},
    {"loss_type": "grpo", "entropy_coef": 0.01},
    {"loss_type": "grpo", "top_entropy_quantile": 0.2},
    {"loss_type": "grpo", "scale_rewards": "batch"},
    {"loss_type": "dapo", "delta": 2.0, "num_iterations": 2, "steps": 2},
]
MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")


EXPECTED = {}


def trl(tmp_path, **settings):
    """Return the gradients and the metrics of TRL. Tests with the same settings share them."""
    key = repr(sorted(settings.items()))
    if key not in EXPECTED:
        found, trainer = gradients.gradients(tmp_path, False, **settings)
        EXPECTED[key] = found, trainer._metrics["train"]
    return EXPECTED[key]


def limit(settings):
    return (3 if settings.get("vllm") else 1) * CLOSE


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradient_is_that_of_trl(tmp_path, settings):
    expected, _ = trl(tmp_path, **settings)
    for checkpointing in (False, True):
        found, trainer = gradients.gradients(tmp_path, True, gradient_checkpointing=checkpointing, **settings)
        assert trainer.model.is_gradient_checkpointing is checkpointing
        assert trainer.packed_step.startswith("pack")
        assert gradients.difference(expected, found) < limit(settings)
        metrics = trainer._metrics["train"]
        assert sum(metrics["tokens/computed"]) < 0.6 * sum(metrics["tokens/computed_by_trl"])


@pytest.mark.parametrize("budget", (40, 120, 10_000))
@pytest.mark.parametrize("loss", ("grpo", "dapo", "cispo", "vespo"))
def test_gradient_with_a_token_budget_is_that_of_trl(tmp_path, loss, budget):
    settings = {"loss_type": loss, "vllm": loss == "vespo", "accumulation": 4, "micro": 4}
    trl_trainer = gradients.trainer_of(tmp_path, False, **settings)
    trainer = gradients.trainer_of(tmp_path, True, tokens_per_pass=budget, **settings)
    passes = []
    trainer._count = passes.append
    trainer.model.eval()  # as after an evaluation
    expected, found = (gradients.step(each, trains=True) for each in (trl_trainer, trainer))
    assert gradients.difference(expected, found) < limit(settings)
    assert trainer._step == trl_trainer._step == 4
    assert len(trainer._metrics["train"]["step_time"]) == 1
    passes = passes[1:]  # the first one is the comparison with TRL's
    assert max(passes) <= budget
    # A micro-batch without rows computes one token.
    with_rows = sum(tokens > 1 for tokens in passes)
    assert with_rows == 1 if budget == 10_000 else with_rows > 1
    assert len(passes) > 4 if budget == 40 else len(passes) == 4
    for name in ("clip_ratio/region_mean", "entropy"):
        values, others = (each._metrics["train"].get(name, [0.0]) for each in (trainer, trl_trainer))
        if name != "entropy":  # TRL's counts the rows without gradient
            assert sum(values) / len(values) == pytest.approx(sum(others) / len(others), abs=1e-6)


def test_token_budget_has_no_effect_on_a_loss_of_the_pass(tmp_path, caplog):
    expected, _ = trl(tmp_path, loss_type="bnpo")
    found, _ = gradients.gradients(tmp_path, True, loss_type="bnpo", tokens_per_pass=40)
    assert gradients.difference(expected, found) < CLOSE
    assert "grpo_tokens_per_pass has no effect: the loss bnpo" in caplog.text


@pytest.mark.every(4)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradient_of_an_adapter_is_that_of_trl(tmp_path, settings):
    expected, _ = trl(tmp_path, lora=True, **settings)
    found, trainer = gradients.gradients(tmp_path, True, lora=True, gradient_checkpointing=True, **settings)
    assert trainer.packed_step.startswith("pack")
    assert gradients.difference(expected, found) < limit(settings)


@pytest.mark.parametrize(
    "settings",
    (
        {"lengths": "one"},
        {"lengths": "uneven", "dead": "none"},
        {"lengths": "uneven", "beta": 0.04},
        {"num_iterations": 3, "steps": 3},
        {"micro": 16, "accumulation": 1, "dead": "none"},
        {"micro": 4, "accumulation": 4, "beta": 0.04, "num_iterations": 2, "steps": 2},
    ),
    ids=str,
)
def test_gradient_of_odd_lengths_and_batches_is_that_of_trl(tmp_path, settings):
    expected, _ = trl(tmp_path, loss_type="dapo", **settings)
    found, trainer = gradients.gradients(tmp_path, True, loss_type="dapo", gradient_checkpointing=True, **settings)
    assert trainer.packed_step == "pack, skip"
    assert gradients.difference(expected, found) < CLOSE


def test_gradient_does_not_depend_on_the_chunks_of_the_head(tmp_path, monkeypatch):
    expected, _ = trl(tmp_path, loss_type="dapo", entropy_coef=0.01)
    scored = []

    def token_scores(model, hidden, targets, **options):
        scored.append(len(targets))
        return real(model, hidden, targets, **options)

    real = models.token_scores
    monkeypatch.setattr("axolotl_grpo_plugin.training.packed_step.model.LOGITS_PER_CHUNK", 4_000)  # about 9 tokens
    monkeypatch.setattr("axolotl_grpo_plugin.training.packed_step.model.token_scores", token_scores)
    found, _ = gradients.gradients(tmp_path, True, loss_type="dapo", entropy_coef=0.01)
    assert max(scored) <= 9 and len(scored) > 16  # eight passes, and the backward pass scores again
    assert gradients.difference(expected, found) < CLOSE


def test_bfloat16_is_as_near_to_float32_as_trl(tmp_path):
    apart = {True: [], False: []}
    for seed in range(4):
        settings = {"loss_type": "dapo", "seed": seed}
        expected, _ = trl(tmp_path, **settings)
        for packed in apart:
            found, trainer = gradients.gradients(tmp_path, packed, dtype=torch.bfloat16, **settings)
            found = {name: value.float() for name, value in found.items()}
            apart[packed].append(gradients.difference(expected, found))
            assert not packed or trainer.packed_step == "pack, skip"
    # Single seeds differ by a factor of two in both directions.
    assert geometric_mean(apart[True]) < 1.5 * geometric_mean(apart[False])


def test_scores_of_a_bfloat16_model_are_float32():
    model = small("llama").to(torch.bfloat16)
    hidden = torch.randn(20, 64, dtype=torch.bfloat16)
    targets = torch.randint(1400, (20,))
    found, entropies = models.token_scores(
        model, hidden, targets, temperature=1.0, compute_entropy=True, entropy_grad=False
    )
    exact = model.lm_head(hidden).float().log_softmax(dim=1)
    assert (found - exact.gather(1, targets[:, None])[:, 0]).abs().max() < 1e-4
    assert (entropies + (exact.exp() * exact).sum(dim=1)).abs().max() < 1e-4


def test_step_without_gradients_clips_nothing_and_has_no_entropy(tmp_path):
    found, trainer = gradients.gradients(tmp_path, True, loss_type="dapo", dead="all")
    assert all((value == 0).all() for value in found.values())
    metrics = trainer._metrics["train"]
    assert all(metrics.values()) and "entropy" not in metrics  # TRL would log an empty list as None
    assert set(metrics["clip_ratio/region_mean"]) == {0.0}
    assert metrics["frac_reward_zero_std"]


# A thread may generate ahead while a step runs, as with `trl.async_prefetch`.


def test_comparison_without_dropout_keeps_the_mode_that_a_generation_reads(tmp_path):
    trainer = gradients.trainer_of(tmp_path, True, model=lambda: small("llama", attention_dropout=0.5))
    modes = []
    trainer.model.model.register_forward_hook(lambda inner, *_: modes.append((inner.training, trainer.model.training)))
    trainer.model.lm_head.eval()
    gradients.step(trainer)
    assert set(modes) == {(False, True), (True, True)}
    assert not trainer.model.lm_head.training
    assert trainer.packed_step == "pack, skip"


def test_batch_flattening_takes_axolotls_own_step(tmp_path):
    trainer = gradients.trainer_of(tmp_path, True)
    trainer.args.batch_flattening = True
    assert (
        support.summary(support.parts_off(trainer)) == "TRL's own step: batch_flattening leaves out padding by itself"
    )


# Metrics.


def test_step_counts_its_own_passes_only(tmp_path):
    trainer = gradients.trainer_of(tmp_path, True, loss_type="dapo")
    trainer._computed_tokens = 5  # of passes before the comparison
    gradients.step(trainer)
    trainer.model.eval()
    rows = [{"prompt": f"{number}?"} for number in range(16)]
    with torch.no_grad():  # an evaluation
        trainer.compute_loss(trainer.model, trainer._prepare_inputs(rows))
    trainer.model.train()
    gradients.step(trainer)
    first, second = trainer._metrics["train"]["tokens/computed"]
    assert first == second + 5 and second > 0
    first, second = trainer._metrics["train"]["tokens/computed_by_trl"]
    assert first == second > 0


def packed_metrics(tmp_path, **settings):
    return gradients.gradients(tmp_path, True, **settings)[1]._metrics["train"]


def means(metrics, start):
    return {name: sum(values) / len(values) for name, values in metrics.items() if name.startswith(start)}


# TRL takes a mean over passes. With one pass, that is a mean over the step.
ONE_PASS = {"micro": 16, "accumulation": 1}
EIGHT_PASSES = {"micro": 2, "accumulation": 8}


@pytest.mark.parametrize("passes", (ONE_PASS, EIGHT_PASSES), ids=str)
@pytest.mark.parametrize("level", ("token", "sequence"))
@pytest.mark.parametrize("loss", ("dapo", "cispo"))
def test_clip_ratios_count_skipped_completions(tmp_path, loss, level, passes):
    settings = {"loss_type": loss, "importance_sampling_level": level, "num_iterations": 2, "steps": 2}
    settings |= {"epsilon": 0.001, "epsilon_high": 0.001}
    expected = means(trl(tmp_path, **settings, **ONE_PASS)[1], ("clip", "cispo"))
    found = means(packed_metrics(tmp_path, **settings, **passes), ("clip", "cispo"))
    assert max(expected.values()) > 0.01
    if passes is not ONE_PASS:  # the highest and the lowest are of a pass
        for values in (expected, found):
            values.pop("clip_ratio/low_min", None), values.pop("clip_ratio/high_max", None)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("passes", (ONE_PASS, EIGHT_PASSES), ids=str)
@pytest.mark.parametrize("level", ("token", "sequence"))
def test_entropy_and_kl_without_dead_groups_are_those_of_trl(tmp_path, level, passes):
    settings = {"loss_type": "dapo", "dead": "none", "beta": 0.04, "num_iterations": 2, "steps": 2}
    settings["importance_sampling_level"] = level
    expected = means(trl(tmp_path, **settings, **ONE_PASS)[1], ("entropy", "kl"))
    found = means(packed_metrics(tmp_path, **settings, **passes), ("entropy", "kl"))
    assert expected["kl"] > 0
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("passes", (ONE_PASS, EIGHT_PASSES), ids=str)
def test_phi_of_vespo_without_dead_groups_is_that_of_trl(tmp_path, passes):
    settings = {"loss_type": "vespo", "dead": "none", "num_iterations": 2, "steps": 2}
    expected = means(trl(tmp_path, **settings, **ONE_PASS)[1], "vespo")
    found = means(packed_metrics(tmp_path, **settings, **passes), "vespo")
    assert len(expected) == 1
    assert found == pytest.approx(expected, rel=1e-4)


def test_entropy_is_a_mean_over_computed_completions(tmp_path):
    settings = {"loss_type": "dapo"}
    one, eight = (
        means(packed_metrics(tmp_path, **settings, **passes), "entropy") for passes in (ONE_PASS, EIGHT_PASSES)
    )
    assert one == pytest.approx(eight, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_metrics_of_vllms_ratios_are_those_of_trl(tmp_path, mode):
    settings = {"loss_type": "dapo", "vllm": True, "dead": "none", "tools": True, "vllm_importance_sampling_mode": mode}
    expected = means(trl(tmp_path, **settings)[1], "sampling/")
    found = means(packed_metrics(tmp_path, **settings), "sampling/")
    assert len(expected) == 5
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_with_vllms_ratios_is_that_of_trl_in_each_mode(tmp_path, mode):
    settings = {"loss_type": "dapo", "vllm": True, "vllm_importance_sampling_mode": mode}
    settings |= {"vllm_importance_sampling_clip_max": 3.0, "vllm_importance_sampling_clip_min": 0.7}
    expected, _ = trl(tmp_path, **settings)
    assert max(value.abs().max() for value in expected.values()) > 0
    found, _ = gradients.gradients(tmp_path, True, **settings)
    assert gradients.difference(expected, found) < 3 * CLOSE


@pytest.mark.parametrize(
    "settings",
    (
        {"num_iterations": 2, "steps": 2},
        {"num_iterations": 2, "accumulation": 16, "steps_per_generation": 8},
        {"steps_per_generation": 16, "steps": 2},
    ),
    ids=str,
)
def test_gradient_with_vllms_ratios_is_that_of_trl_if_a_batch_is_for_several_passes(tmp_path, settings):
    expected, _ = trl(tmp_path, loss_type="dapo", vllm=True, **settings)
    found, _ = gradients.gradients(tmp_path, True, loss_type="dapo", vllm=True, **settings)
    assert gradients.difference(expected, found) < 3 * CLOSE


def passes_without_gradient(tmp_path, **settings):
    """Return how many passes over the model the second and third step make without gradient."""
    trainer = gradients.trainer_of(tmp_path, True, loss_type="dapo", **settings)
    gradients.step(trainer)
    made = []
    trainer.model.register_forward_hook(lambda *_: made.append(torch.is_grad_enabled()))
    gradients.step(trainer)
    gradients.step(trainer)
    assert True in made
    return made.count(False)


def test_takes_vllms_ratios_from_the_training_pass(tmp_path):
    assert passes_without_gradient(tmp_path, vllm=True) == 0


@pytest.mark.parametrize(
    "settings", ({"num_iterations": 2}, {"steps_per_generation": 16}, {"model": "dropout"}), ids=str
)
def test_computes_vllms_ratios_before_a_step_that_may_differ(tmp_path, settings):
    if settings.pop("model", None):
        settings["model"] = lambda: small("llama", attention_dropout=0.1)
    assert passes_without_gradient(tmp_path, vllm=True, **settings) > 0


# Models. Each is packed exactly, or takes TRL's own step and says why.


def small(kind, attention="sdpa", **settings):
    """Return a model of random weights, whose attention matters: they are larger than usual."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": 1400}
    if kind.startswith(("qwen3", "gemma", "gpt_oss")):
        sizes["head_dim"] = 16
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(4)
    config = transformers.AutoConfig.for_model(kind, **{**sizes, **ids, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    for value in model.parameters():
        if value.dim() > 1:
            value.data *= 3
    return model


EXPERTS = {
    "router_aux_loss_coef": 0.0,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [3.0] * 8, "rope_theta": 1e4}
PACKED = {
    "llama": ("llama", {}),
    "llama, eager": ("llama", {"attention": "eager"}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "qwen3_moe": ("qwen3_moe", EXPERTS),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, window": ("mistral", {"sliding_window": 8}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", {"sliding_window": 8, "attention": "eager"}),
    "gemma3": ("gemma3_text", {"sliding_window": 8}),
    "phi3": ("phi3", {}),
    "phi3, short rows of longrope": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 256}),
    "olmo2": ("olmo2", {}),
    "granite": ("granite", {"logits_scaling": 4.0, "attention_multiplier": 0.3}),
    "cohere2": ("cohere2", {"sliding_window": 8}),
    "smollm3": ("smollm3", {}),
    "glm4": ("glm4", {}),
    "starcoder2": ("starcoder2", {}),
    "gpt_oss": ("gpt_oss", {**EXPERTS, "sliding_window": 8, "attention": "eager"}),
}
OWN = {
    "experts with an auxiliary loss": ("qwen3_moe", {**EXPERTS, "router_aux_loss_coef": 0.001}, "auxiliary loss"),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}, "layers without attention"),
    # TRL's own log-probabilities depend on the padding on the left of a prompt.
    "gpt2": ("gpt2", {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}, "differ by"),
}


def compared(tmp_path, kind, **settings):
    """Return the difference of the gradients, and the packed trainer."""
    attention = settings.pop("attention", "sdpa")
    options = {"loss_type": "dapo", "micro": 4, "accumulation": 4, "model": lambda: small(kind, attention, **settings)}
    expected, _ = gradients.gradients(tmp_path, False, **options)
    found, trainer = gradients.gradients(tmp_path, True, **options)
    return gradients.difference(expected, found), trainer


@pytest.mark.parametrize("kind, settings", PACKED.values(), ids=PACKED)
def test_packs_a_family_of_models(tmp_path, kind, settings):
    apart, trainer = compared(tmp_path, kind, **settings)
    assert trainer.packed_step == "pack, skip"
    metrics = trainer._metrics["train"]
    assert sum(metrics["tokens/computed"]) < 0.6 * sum(metrics["tokens/computed_by_trl"])
    assert apart < CLOSE


@pytest.mark.parametrize("kind, settings, reason", OWN.values(), ids=OWN)
def test_family_that_cannot_be_packed_takes_trls_pass_and_says_why(tmp_path, kind, settings, reason):
    apart, trainer = compared(tmp_path, kind, **settings)
    assert reason in trainer.packed_step
    assert apart < CLOSE


@pytest.mark.parametrize(
    "kind, settings",
    (
        ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 20}),
        (
            "llama",
            {
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
                "max_position_embeddings": 20,
            },
        ),
    ),
)
def test_rows_beyond_the_original_length_of_rotary_embeddings_take_trls_pass(tmp_path, kind, settings):
    apart, trainer = compared(tmp_path, kind, **settings)
    metrics = trainer._metrics["train"]
    # Half of the completions are skipped, and none is packed.
    assert 0.4 < sum(metrics["tokens/computed"]) / sum(metrics["tokens/computed_by_trl"]) < 0.6
    assert apart < CLOSE


@pytest.mark.parametrize("passes_window, longest", ((True, math.inf), (False, 100)))
def test_rows_beyond_a_window_that_attention_ignores_are_not_packed(tmp_path, monkeypatch, passes_window, longest):
    attend = attention._attend

    def ignoring(*arguments, sliding_window=None, **options):
        return attend(*arguments, **options)

    if not passes_window:
        monkeypatch.setattr("axolotl_grpo_plugin.training.packed_step.attention._attend", ignoring)
    trainer = gradients.trainer_of(tmp_path, True, model=lambda: small("mistral", sliding_window=100))
    gradients.step(trainer)  # rows of at most 36 tokens
    assert trainer.packed_step == "pack, skip"
    assert trainer._can_pack(100) and trainer._can_pack(101) is passes_window
    assert trainer._longest_exact == longest


# The comparison with TRL's pass before the first step.


@pytest.mark.parametrize("settings", ({}, {"vllm": True, "num_iterations": 2}), ids=str)
def test_wrong_pass_turns_packing_off_with_one_line(tmp_path, monkeypatch, caplog, settings):
    expected, _ = trl(tmp_path, loss_type="dapo", **settings)
    layout = "axolotl_grpo_plugin.training.packed_step.step.Layout"
    real = layouts.Layout

    def wrong(*arguments):
        made = real(*arguments)
        made.positions = made.positions * 3
        return made

    monkeypatch.setattr(layout, wrong)
    with caplog.at_level(logging.WARNING):
        found, trainer = gradients.gradients(tmp_path, True, loss_type="dapo", **settings)
    assert trainer.packed_step.startswith("skip; no pack: the log-probabilities of a packed pass differ by")
    assert [record.message for record in caplog.records if "pack" in record.message] == [
        f"axolotl-grpo-plugin: speed {trainer.packed_step}."
    ]
    assert gradients.difference(expected, found) < limit(settings)


def test_error_in_a_packed_pass_turns_packing_off(tmp_path, monkeypatch):
    def broken(*_):
        raise NotImplementedError("no such attention")

    monkeypatch.setattr("axolotl_grpo_plugin.training.packed_step.step.Layout", broken)
    _, trainer = gradients.gradients(tmp_path, True, loss_type="dapo")
    assert trainer.packed_step == "skip; no pack: NotImplementedError: no such attention"


# Ranks.


def check_ranks(tmp_path, settings, engine=""):
    """Compare an update of two ranks with TRL's. engine: a key of ENGINE_TYPES."""
    torchrun("gradients_on_ranks.py", tmp_path, json.dumps(settings), ENGINE=engine)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for own, other in zip(first, second, strict=True):
        assert own["logged"] == other["logged"]  # gathered
        for result in (own, other):
            assert result["engine"] == ENGINE_TYPES[engine]
            plain, packed = result["passes"]
            # Else a rank would wait for the other one.
            assert packed == other["passes"][1]
            assert plain < packed if "tokens_per_pass" in result["settings"] else plain == packed
            assert result["apart"] < 3 * CLOSE, result["settings"]
        # All groups of the second rank are dead, so it computes rows of the first one. bnpo cannot deal rows.
        if own["dealt"]:
            longest_row = gradients.LONGEST + 12  # with its prompt
            assert abs(own["tokens"] - other["tokens"]) <= longest_row
    if engine:
        return
    # At last, packing fails on the second rank.
    assert (tmp_path / "0.txt").read_text() == "skip; no pack: a packed pass failed on another rank"
    assert (tmp_path / "1.txt").read_text() == "skip; no pack: NotImplementedError: no such attention"


def test_update_of_two_ranks_is_that_of_trl(tmp_path):
    settings = [
        {"loss_type": "grpo", "beta": 0.04},
        {"loss_type": "bnpo", "tools": True},
        {"loss_type": "dapo", "vllm": True},
        {"loss_type": "dapo", "num_iterations": 2, "steps": 2},
        {"loss_type": "dapo", "tokens_per_pass": 40, "accumulation": 2, "micro": 8},
    ]
    check_ranks(tmp_path, settings)


@pytest.mark.slow
def test_update_of_two_ranks_is_that_of_trl_in_all_settings(tmp_path):
    check_ranks(tmp_path, SETTINGS)
