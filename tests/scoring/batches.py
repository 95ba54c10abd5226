"""Batches of a training that no trainer has made."""


def scored_batch(prompts=None, scores=None, group=2, **more):
    """Return a ScoredBatch of one rank. more: its attributes, and the outcomes of reward functions by their name."""
    import torch

    from axolotl_grpo_plugin.scoring.batch import ScoredBatch

    names = [name for name in more if name not in ScoredBatch.__dataclass_fields__]
    outcomes = {name: more.pop(name) for name in names}
    first = next(iter(outcomes.values()))
    if scores is None:
        values = [[outcome.value for outcome in row] for row in zip(*outcomes.values(), strict=True)]
        scores = [[float("nan") if value is None else value for value in row] for row in values]
    count = len(first)
    known = {
        "rows": [{} for _ in first],
        "completions": ["a"] * count,
        "ids": [[5, 2]] * count,
        "truncated": [False] * count,
        "weights": torch.ones(len(names)),
    }
    return ScoredBatch(
        prompts=prompts or ["p"] * count,
        outcomes=outcomes,
        names=names,
        scores=torch.tensor(scores),
        group=group,
        **known | more,
    )
