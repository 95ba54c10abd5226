"""Replace prompt groups that teach nothing by groups of other prompts (DAPO's dynamic sampling)."""

from copy import deepcopy
from itertools import chain
from math import ceil, gcd
from random import Random
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import torch
from accelerate.utils import gather_object

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.scoring.batch import ScoredBatch
from axolotl_grpo_plugin.scoring.dead_groups import are_equal
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores
from axolotl_grpo_plugin.training.rows import Batch, gathered_rows, loss_mask, replace_rows

ROUNDS = 3


class SamplingSettings(NamedTuple):
    """The settings of dynamic sampling.

    Attributes:
        reward: The index of the reward function whose scores must differ.
        rounds: The most extra generations per batch.
    """

    reward: int
    rounds: int

    @classmethod
    def of(cls, cfg: Config) -> Self | None:
        """Return the settings of a config, None if it does not sample dynamically."""
        if not cfg.grpo_dynamic_sampling:
            return None
        keys = [reward.key for reward in reward_refs(cfg)]
        rounds = cfg.grpo_dynamic_sampling_rounds
        return cls(
            keys.index(cfg.grpo_dynamic_sampling_reward or keys[0]),
            ROUNDS if rounds is None else rounds,
        )


class Round(NamedTuple):
    """One generation. The numbers of groups are over all ranks.

    Attributes:
        rows: The indices in the dataset, one per prompt group.
        batch: TRL's, of this rank.
        scored: The same completions, for the rollout log.
        tokens: The number of tokens in the completions of all ranks.
        dead: The groups with equal scores.
        discarded: The groups that no step trains on.
    """

    rows: list[int]
    batch: Batch
    scored: ScoredBatch
    tokens: torch.Tensor
    dead: list[int]
    discarded: set[int]


class DynamicSampling(GuardedScores):
    """TRL's trainer that generates again for the dead groups of a batch.

    A group is dead if all its scores of one reward function are equal. The scores, which TRL gathers,
    the rows and the draws are the same on all ranks, so all ranks decide the same.

    Attributes:
        sampling: The settings. None: every batch is as TRL makes it.
    """

    sampling: SamplingSettings | None = None

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        self._draws = 0  # of the step `_draws_of`
        self._draws_of = 0
        self._row_of: dict[str, int] = {}  # rows with the same prompt count as the last one
        if self.sampling:
            prompts = self.train_dataset["prompt"]
            self._row_of = {str(prompt): row for row, prompt in enumerate(prompts)}

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        """Generate and score a batch, and replace its dead groups."""
        if not (self.sampling and self.model.training):  # an evaluation measures its own rows
            batch: Batch = super()._generate_and_score_completions(inputs)
            return batch
        size = self.num_generations
        own_rows = [self._row_of[str(row["prompt"])] for row in inputs]
        rows = gather_object(own_rows)[::size]
        first = self._generate_round(rows, inputs)
        rounds = [first]
        to_replace = first.dead
        while to_replace and len(rounds) <= self.sampling.rounds:
            drawn = self._draw(rounds, len(to_replace))
            if not drawn:  # the step has used nearly all rows
                break
            extra = self._generate_extra_round(drawn)
            rounds.append(extra)
            groups = set(range(len(drawn)))
            live = sorted(groups.difference(extra.dead))
            moves = dict(zip(to_replace, live, strict=False))  # live groups may be left over
            first.discarded.update(moves)
            extra.discarded.update(groups.difference(moves.values()))
            if moves:
                # A group may lie on two ranks.
                whole = gathered_rows(extra.batch, self.accelerator)
                exchange(first.batch, whole, moves, size, first.scored.indices)
            to_replace = to_replace[len(moves) :]
        for done in rounds:
            indices = done.scored.indices
            done.scored.discarded = [index // size in done.discarded for index in indices]
        self._log_sampling(rounds, len(to_replace))
        return first.batch

    def _generate_round(self, rows: list[int], inputs: list[Batch]) -> Round:
        """Generate and score completions.

        Args:
            rows: The indices in the dataset, one per prompt group of all ranks.
            inputs: This rank's rows of the dataset, one per completion.
        """
        assert self.sampling
        batch = super()._generate_and_score_completions(inputs)
        scored = self.scored[-1]
        scores = scored.scores[:, self.sampling.reward].view(len(rows), -1)
        return Round(rows, batch, scored, batch["num_items_in_batch"], dead_groups(scores), set())

    def _generate_extra_round(self, rows: list[int]) -> Round:
        """Generate and score completions of other rows. Drop their metrics and logs, because TRL logs each."""
        ranks = self.accelerator.num_processes
        count = len(rows) * self.num_generations // ranks  # of this rank
        start = self.accelerator.process_index * count
        indices = range(start, start + count)
        inputs = [self.train_dataset[rows[index // self.num_generations]] for index in indices]
        metrics, logs = deepcopy(self._metrics), deepcopy(self._logs)
        with patch.multiple(self, _metrics=metrics, _logs=logs):
            return self._generate_round(rows, inputs)

    def _draw(self, rounds: list[Round], dead: int) -> list[int]:
        """Draw rows in place of dead groups, [] if too few are left. No row is used twice in a step."""
        used = list(chain.from_iterable(earlier.rows for earlier in rounds))
        live = 1 - sum(len(earlier.dead) for earlier in rounds) / len(used)
        most = len(rounds[0].rows)
        # As long as no group is live, ask for as many as if one of a batch were.
        wanted = ceil(dead / max(live, 1 / most))
        # Each rank must generate equally many completions.
        ranks = self.accelerator.num_processes
        unit = ranks // gcd(ranks, self.num_generations)
        wanted = min(ceil(wanted / unit) * unit, most)
        step = self.state.global_step
        self._draws = self._draws + 1 if step == self._draws_of else 0
        self._draws_of = step
        unused = sorted(set(self._row_of.values()).difference(used))
        if len(unused) < wanted:
            return []
        # A resumed run draws as an undisturbed one does.
        seed = f"{self.args.seed} {step} {self._draws}"
        return Random(seed).sample(unused, wanted)

    def _log_sampling(self, rounds: list[Round], dead: int) -> None:
        """Log a step's sampling, and let TRL divide the loss by the tokens of the new batch.

        Args:
            rounds: All generations of the batch.
            dead: The number of dead groups that are left.
        """
        batch = rounds[0].batch
        if len(rounds) > 1:
            batch["num_items_in_batch"] = self.accelerator.reduce(loss_mask(batch).sum())
        generated = torch.stack([earlier.tokens for earlier in rounds]).sum()
        used = batch["num_items_in_batch"] / generated.clamp(min=1)
        metrics = self._metrics["train"]
        metrics["num_tokens"] = [self.state.num_input_tokens_seen]  # also of the extra rounds
        metrics["sampling/dead_before"].append(len(rounds[0].dead))
        metrics["sampling/dead_after"].append(dead)
        metrics["sampling/rounds"].append(len(rounds) - 1)
        metrics["sampling/used_tokens"].append(float(used))


def dead_groups(scores: torch.Tensor) -> list[int]:
    """Return the indices of the groups whose scores are equal.

    A group without a score is not dead: the reward function is not for its task.

    Args:
        scores: Shaped (groups, completions).
    """
    dead: list[int] = are_equal(scores).nonzero().flatten().tolist()
    return dead


def exchange(batch: Batch, extra: Batch, moves: dict[int, int], group: int, indices: range) -> None:
    """Put prompt groups of a batch of all ranks into this rank's batch.

    Args:
        batch: This rank's, changed in place.
        extra: Of all ranks.
        moves: From the group to replace to the group to put there, both numbered over all ranks.
        group: Completions per group.
        indices: Of this rank's completions in the batch of all ranks.
    """
    rows = {}  # from the index in `batch` to the index in `extra`
    for replaced, source in moves.items():
        for number in range(group):
            index = replaced * group + number
            if index in indices:
                rows[index - indices.start] = source * group + number
    if rows:
        replace_rows(batch, extra, rows)
