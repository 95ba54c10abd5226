"""Replace prompt groups that teach nothing by groups of other prompts (DAPO's dynamic sampling)."""

from collections.abc import Callable
from itertools import chain
from math import ceil, gcd
from random import Random
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config, tokens_of
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.scoring.dead_groups import are_equal
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.rows import Batch, gathered_rows, loss_mask, replace_rows

ROUNDS = 3

type Generate = Callable[[list[Batch]], Batch]  # TRL's generation and scoring of rows


class Round(NamedTuple):
    """One generation. rows: of the dataset, one per prompt group. The numbers of groups are over all ranks.

    batch: this rank's part. tokens: of the completions of all ranks. dead: groups with equal scores.
    discarded: groups that no step trains on.
    """

    rows: list[int]
    batch: Batch
    tokens: torch.Tensor
    dead: list[int]
    discarded: set[int]


class DynamicSampling:
    """Wraps the generation and scoring of batches.

    A group is dead if all its scores of one reward function are equal. The scores, which TRL gathers,
    the rows and the draws are the same on all ranks, so all ranks decide the same.

    number: of the reward function. rounds: the most extra rounds of generation per batch.
    """

    def __init__(self, trainer: GRPOTrainer, runner: RewardRunner, number: int, rounds: int):
        self.trainer = trainer
        self.runner = runner
        self.number = number
        self.rounds = rounds
        # Rows with the same prompt count as the last one.
        self._rows = {
            str(prompt): row for row, prompt in enumerate(trainer.train_dataset["prompt"])
        }
        self._group = trainer.num_generations  # completions per prompt group
        self._step = 0
        self._draws = 0  # of this step
        upstream.wrap_batches(trainer, self._sample)

    @classmethod
    def of(cls, cfg: Config, trainer: GRPOTrainer, runner: RewardRunner) -> "DynamicSampling":
        """Wrap the trainer with the settings of a config."""
        keys = [reward.key for reward in reward_refs(cfg)]
        rounds = tokens_of(cfg.get("grpo_dynamic_sampling_rounds"))
        return cls(
            trainer,
            runner,
            keys.index(cfg.get("grpo_dynamic_sampling_reward") or keys[0]),
            ROUNDS if rounds is None else rounds,
        )

    def _sample(self, generate: Generate, inputs: list[Batch]) -> Batch:
        """Generate and score a batch, and replace its dead groups."""
        if not self.trainer.model.training:
            return generate(inputs)  # an evaluation measures its own rows
        log = self.runner.rollouts
        if log:
            log.held = []  # which groups are discarded is known after the last round only
        own = [self._rows[str(row["prompt"])] for row in inputs]
        rows = gather_object(own)[:: self._group]
        first = self._round(generate, rows, inputs)
        rounds = [first]
        places = first.dead
        while places and len(rounds) <= self.rounds:
            drawn = self._draw(rounds, len(places))
            if not drawn:  # the step has used nearly all rows
                break
            extra = self._extra(generate, drawn)
            rounds.append(extra)
            groups = set(range(len(drawn)))
            live = sorted(groups.difference(extra.dead))
            moves = dict(zip(places, live, strict=False))  # live groups may be left over
            first.discarded.update(moves)
            extra.discarded.update(groups.difference(moves.values()))
            if moves:
                exchange(
                    first.batch,
                    # A group may lie on two ranks.
                    gathered_rows(extra.batch, self.trainer.accelerator),
                    moves,
                    self._group,
                    self._own(rows),
                )
            places = places[len(moves) :]
        if log:
            log.release(list(map(self._marks, rounds)))
        self._log(rounds, len(places))
        return first.batch

    def _round(self, generate: Generate, rows: list[int], inputs: list[Batch]) -> Round:
        """Generate and score completions. inputs: this rank's rows of the dataset, one per completion."""
        batch = generate(inputs)
        return Round(
            rows,
            batch,
            batch["num_items_in_batch"],
            dead_groups(self.runner.scores[:, self.number].view(len(rows), -1)),
            set(),
        )

    def _extra(self, generate: Generate, rows: list[int]) -> Round:
        """Generate and score completions of other rows, which TRL does not log."""
        dataset = self.trainer.train_dataset
        inputs = [dataset[rows[place // self._group]] for place in self._own(rows)]
        with upstream.unlogged(self.trainer):
            return self._round(generate, rows, inputs)

    def _draw(self, rounds: list[Round], places: int) -> list[int]:
        """Draw rows for dead places, [] if too few are left. None is used twice in a step."""
        used = list(chain.from_iterable(earlier.rows for earlier in rounds))
        live = 1 - sum(len(earlier.dead) for earlier in rounds) / len(used)
        most = len(rounds[0].rows)
        # As long as no group is live, ask for as many as if one of a batch were.
        wanted = ceil(places / max(live, 1 / most))
        # Each rank must generate equally many completions.
        ranks = self.trainer.accelerator.num_processes
        unit = ranks // gcd(ranks, self._group)
        wanted = min(ceil(wanted / unit) * unit, most)
        step = self.trainer.state.global_step
        self._draws = self._draws + 1 if step == self._step else 0
        self._step = step
        unused = sorted(set(self._rows.values()).difference(used))
        if len(unused) < wanted:
            return []
        # A resumed run draws as an undisturbed one does.
        seed = f"{self.trainer.args.seed} {step} {self._draws}"
        return Random(seed).sample(unused, wanted)

    def _own(self, rows: list[int]) -> range:
        """Return the places of this rank's completions in a round of all ranks."""
        accelerator = self.trainer.accelerator
        count = len(rows) * self._group // accelerator.num_processes
        start = accelerator.process_index * count
        return range(start, start + count)

    def _marks(self, own: Round) -> list[bool]:
        """Return whether each of this rank's completions is discarded."""
        return [place // self._group in own.discarded for place in self._own(own.rows)]

    def _log(self, rounds: list[Round], dead: int) -> None:
        """Log a step's sampling, and let TRL divide the loss by the tokens of the new batch."""
        trainer = self.trainer
        batch = rounds[0].batch
        if len(rounds) > 1:
            own = loss_mask(batch).sum()
            batch["num_items_in_batch"] = trainer.accelerator.reduce(own)
        generated = torch.stack([earlier.tokens for earlier in rounds]).sum()
        used = batch["num_items_in_batch"] / generated.clamp(min=1)
        metrics = trainer._metrics["train"]
        metrics["num_tokens"] = [trainer.state.num_input_tokens_seen]  # also of the extra rounds
        metrics["sampling/dead_before"].append(len(rounds[0].dead))
        metrics["sampling/dead_after"].append(dead)
        metrics["sampling/rounds"].append(len(rounds) - 1)
        metrics["sampling/used_tokens"].append(float(used))


def dead_groups(scores: torch.Tensor) -> list[int]:
    """Return the numbers of the groups whose scores are equal. scores: (groups, completions).

    A group without a score is not dead: the reward function is not for its task.
    """
    return torch.nonzero(are_equal(scores)).flatten().tolist()


def exchange(batch: Batch, extra: Batch, moves: dict[int, int], group: int, own: range) -> None:
    """Put prompt groups of `extra`, which is of all ranks, into this rank's batch.

    moves: from the group to replace to the group to put there, numbered over all ranks. group: completions
    per group. own: the places of this rank's completions in the batch of all ranks.
    """
    rows = {}  # of the batch, and of `extra`
    for to, source in moves.items():
        for number in range(group):
            place = to * group + number
            if place in own:
                rows[place - own.start] = source * group + number
    if rows:
        replace_rows(batch, extra, rows)
