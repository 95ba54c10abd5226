from tests.conftest import Later

sampling, torch = Later("axolotl_grpo_plugin.training.dynamic_sampling"), Later("torch")


def batch(prompt, completion, value, rows=4):
    """Return a batch as TRL does, with prompts and completions of these lengths."""
    left, right = (rows, prompt), (rows, completion)
    return {
        "prompt_ids": torch.full(left, value),
        "prompt_mask": torch.ones(left, dtype=torch.long),
        "completion_ids": torch.full(right, value),
        "completion_mask": torch.ones(right, dtype=torch.long),
        "tool_mask": torch.arange(completion).gt(0).long().repeat(rows, 1),  # the first token is a tool's
        "old_per_token_logps": torch.full(right, -float(value)),
        "importance_sampling_ratio": torch.full((rows, 1), float(value)),
        "advantages": torch.full((rows,), float(value)),
        "num_items_in_batch": torch.tensor(rows * completion),
        "ref_per_token_logps": None,
    }


def test_moved_rows_are_padded_on_the_sides_of_trl():
    kept = batch(prompt=3, completion=2, value=1)
    sampling.exchange(kept, batch(prompt=2, completion=4, value=5), {1: 0}, 2, range(4))
    expected = {
        "prompt_ids": ([1, 1, 1], [0, 5, 5]),
        "prompt_mask": ([1, 1, 1], [0, 1, 1]),
        "completion_ids": ([1, 1, 0, 0], [5, 5, 5, 5]),
        "completion_mask": ([1, 1, 0, 0], [1, 1, 1, 1]),
        "old_per_token_logps": ([-1, -1, 0, 0], [-5, -5, -5, -5]),
        "importance_sampling_ratio": ([1], [5]),
        "advantages": (1, 5),
    }
    for name, (own, moved) in expected.items():
        assert kept[name].tolist() == [own, own, moved, moved], name
    assert kept["ref_per_token_logps"] is None
    assert sampling.loss_mask(kept).sum() == 8


def test_groups_with_equal_scores_are_dead_but_groups_without_a_score_are_not():
    unscored = [torch.nan] * 3
    scores = torch.tensor([[2.0, 2.0, 2.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0], unscored])
    assert sampling.dead_groups(scores) == [0, 2]
