"""Metrics of passes with other rows mean the same as those of TRL's passes."""

from types import SimpleNamespace

import pytest

from tests.conftest import Later

torch = Later("torch")
metrics = Later("axolotl_grpo_plugin.training.packed_step.metrics")


def batch_of(lengths):
    """Return rows with so many tokens. Without rows, return one row without tokens, as `selected` does."""
    mask = torch.arange(8) < torch.tensor(lengths or [0])[:, None]
    return {"completion_mask": mask.long(), "advantages": torch.ones(len(lengths))}


def weights_of(ranks, **options):
    """Return the weights of each pass. `ranks` has the lengths of the rows of each pass of each rank."""
    sums = []

    def call(passes, reduce):
        given = batch_of([length for lengths in passes for length in lengths])
        accelerator = SimpleNamespace(device="cpu", num_processes=len(ranks), reduce=reduce)
        counts = [len(lengths) for lengths in passes]
        return metrics.metric_weights(accelerator, given, [*map(batch_of, passes)], counts, **options)

    for passes in ranks:
        values = []
        call(passes, lambda value, values=values: values.append(value) or value)
        sums.append(values)
    totals = iter([sum(values) for values in zip(*sums, strict=True)])
    return call(ranks[0], lambda _: next(totals))


RANKS = [[[4, 2], [3]], [[6], []]]  # the second pass of the second rank has no row


@pytest.mark.parametrize("averages_ranks, expected", ((False, [12, 3]), (True, [12, 2 * 3])))
def test_mean_of_passes_is_a_mean_over_tokens(averages_ranks, expected):
    weights = weights_of(RANKS, by_rows=False, averages_ranks=averages_ranks)
    # A loss that averages ranks logs half of the mean of the rank that has rows.
    assert [weight["entropy"] for weight in weights] == pytest.approx([2 * tokens / 15 for tokens in expected])
    assert [weight["clip_ratio/low_mean"] for weight in weights] == pytest.approx(
        [2 * tokens / 15 for tokens in expected]
    )


@pytest.mark.parametrize("averages_ranks, expected", ((False, [3, 2]), (True, [3, 2 * 1])))
def test_mean_of_passes_is_a_mean_over_rows(averages_ranks, expected):
    weights = weights_of(RANKS, by_rows=True, averages_ranks=averages_ranks)
    # TRL's mean of the second pass is over two rows, because the second rank has one without tokens.
    assert [weight["clip_ratio/low_mean"] for weight in weights] == pytest.approx([2 * rows / 4 for rows in expected])
    total = 4 if averages_ranks else 5
    assert [weight["vespo/phi_seq_mean"] for weight in weights] == pytest.approx(
        [2 * rows / total for rows in expected]
    )


def test_pass_without_rows_on_all_ranks_leaves_no_extremes():
    weights = weights_of([[[4], []], [[6], []]], by_rows=False, averages_ranks=False)
    assert [weight["clip_ratio/low_min"] for weight in weights] == [1.0, None]
    assert [weight["entropy"] for weight in weights] == [2.0, 0.0]


def test_step_without_rows_has_clip_ratios_only():
    logged = {"entropy": [0.0], "clip_ratio/low_mean": [0.5, 0.0], "kl": [0.1]}
    (weights,) = weights_of([[[]]], by_rows=False, averages_ranks=False)
    with metrics.weighted(logged, weights):
        for name in ("entropy", "clip_ratio/low_mean", "kl"):
            logged[name].append(0.7)
    assert logged == {"entropy": [0.0], "clip_ratio/low_mean": [0.5, 0.0, 0.0], "kl": [0.1]}
