"""Replace prompt groups that teach nothing by groups of other prompts (DAPO's dynamic sampling)."""

from collections.abc import Callable
from copy import deepcopy
from math import ceil, gcd
from typing import Any
from unittest.mock import patch

import torch
from accelerate.utils import gather_object
from torch.nn.functional import pad
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from axolotl_grpo_plugin.config import tokens_of
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.scoring.dead_groups import are_equal
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.row_rates import RowRates

ROUNDS = 3
_LEFT = ("prompt_ids", "prompt_mask")  # padded on this side
_ONES = ("tool_mask", "importance_sampling_ratio")  # padded with 1


class DynamicSampling(TrainerCallback, ExportableState):
    """Wraps the trainer's `_generate_and_score_completions`, and keeps the pass rate of each row.

    A group is dead if all its scores of one reward function are equal. The scores, which TRL gathers,
    the rows and the draws are the same on all ranks, so all ranks decide the same.

    number: of the reward function. rounds: the most extra rounds of generation per batch.
    """

    def __init__(self, trainer: Any, runner: RewardRunner, number: int, rounds: int):
        self.trainer, self.runner, self.number, self.rounds = trainer, runner, number, rounds
        self.rates = RowRates(trainer.train_dataset["prompt"])
        self._draws = (0, 0)  # step, draws of this step
        self._generate = trainer._generate_and_score_completions
        trainer._generate_and_score_completions = self._sample

    @classmethod
    def of(cls, cfg: Any, trainer: Any, runner: RewardRunner) -> "DynamicSampling":
        """Wrap the trainer with the settings of a config."""
        keys = [reward.key for reward in reward_refs(cfg)]
        number = keys.index(cfg.get("grpo_dynamic_sampling_reward") or keys[0])
        rounds = tokens_of(cfg.get("grpo_dynamic_sampling_rounds"))
        return cls(trainer, runner, number, ROUNDS if rounds is None else rounds)

    def state(self) -> dict[str, Any]:
        """Return the pass rates, which transformers writes into the checkpoint's trainer_state.json."""
        return {"args": {}, "attributes": self.rates.saved()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A checkpoint from before dynamic sampling was turned on has no such entry.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.rates.restore(saved["attributes"])

    def _sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Generate and score a batch, and replace its dead groups."""
        trainer, log = self.trainer, self.runner.rollouts
        output: dict[str, Any]
        if not trainer.model.training:
            output = self._generate(inputs)
            return output
        if log:
            log.held = []
        group = trainer.num_generations
        rows = gather_object([self.rates.row_of(each["prompt"]) for each in inputs])[::group]
        output, dead = self._round(rows, inputs)
        before, places, used = len(dead), dead, set(rows)
        asked, all_dead = len(rows), before  # groups of all rounds
        tokens = output["num_items_in_batch"]
        own = [self._own(len(rows))]  # this rank's places in each round
        discarded = [set[int]()]  # groups of each round
        while places and len(discarded) <= self.rounds:
            needed = self._needed(len(places), 1 - all_dead / asked, len(rows))
            if not (drawn := self._draw(needed, used)):
                break
            extra, dead = self._extra(drawn)
            used.update(drawn)
            asked, all_dead = asked + len(drawn), all_dead + len(dead)
            tokens = tokens + extra["num_items_in_batch"]
            live = [source for source in range(len(drawn)) if source not in dead]
            moves = list(zip(places, live, strict=False))
            own.append(self._own(len(drawn)))
            pad_token = trainer.processing_class.pad_token_id
            exchange(output, extra, moves, group, (own[0], own[-1]), pad_token)
            discarded[0].update(place for place, _ in moves)
            discarded.append(set(range(len(drawn))) - {source for _, source in moves})
            places = places[len(moves) :]
        if len(discarded) > 1:
            count = loss_mask(output).sum()
            output["num_items_in_batch"] = trainer.accelerator.gather(count).sum()
        if log:
            rounds = zip(own, discarded, strict=True)
            log.release([[place // group in groups for place in mine] for mine, groups in rounds])
        metrics = trainer._metrics["train"]
        metrics["num_tokens"] = [trainer.state.num_input_tokens_seen]
        metrics["sampling/dead_before"].append(before)
        metrics["sampling/dead_after"].append(len(places))
        metrics["sampling/rounds"].append(len(discarded) - 1)
        metrics["sampling/used_tokens"].append(
            (output["num_items_in_batch"] / tokens.clamp(min=1)).item()
        )
        return output

    def _round(self, rows: list[int], inputs: list[Any]) -> tuple[dict[str, Any], list[int]]:
        """Generate and score. Return TRL's batch, and the numbers of the dead groups over all ranks."""
        output = self._generate(inputs)
        scores = self.runner.scores[:, self.number].view(len(rows), -1)
        self.rates.add(rows, scores.tolist())
        return output, dead_groups(scores)

    def _needed(self, places: int, live: float, most: int) -> int:
        """Return the number of groups to generate for dead places, in equal parts for all ranks.

        live: the share of live groups so far. most: the groups of a batch.
        """
        ranks: int = self.trainer.accelerator.num_processes
        unit = ranks // gcd(ranks, int(self.trainer.num_generations))
        wanted = ceil(places / max(live, 1 / most))
        return min(ceil(wanted / unit) * unit, most)

    def _extra(self, rows: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Generate and score completions of other rows. TRL's metrics and table leave them out."""
        trainer = self.trainer
        numbers = (place // trainer.num_generations for place in self._own(len(rows)))
        inputs = [trainer.train_dataset[rows[number]] for number in numbers]
        copies = {name: deepcopy(getattr(trainer, name)) for name in ("_metrics", "_logs")}
        with patch.multiple(trainer, **copies):
            return self._round(rows, inputs)

    def _draw(self, count: int, used: set[int]) -> list[int]:
        step, draws = self.trainer.state.global_step, 0
        if self._draws[0] == step:
            draws = self._draws[1] + 1
        self._draws = (step, draws)
        return self.rates.draw(count, (self.trainer.args.seed, step, draws), used)

    def _own(self, groups: int) -> range:
        """Return the places of this rank's completions in a batch of all ranks. groups: of the batch."""
        accelerator = self.trainer.accelerator
        rank, count = accelerator.process_index, groups * self.trainer.num_generations
        count //= accelerator.num_processes
        return range(rank * count, (rank + 1) * count)


def dead_groups(scores: torch.Tensor) -> list[int]:
    """Return the numbers of the groups whose scores are equal. scores: (groups, completions).

    A group without a score is not dead: the reward function is not for its task.
    """
    return torch.nonzero(are_equal(scores)).flatten().tolist()


def loss_mask(batch: dict[str, Any]) -> torch.Tensor:
    """Return TRL's mask of the tokens to train on."""
    mask: torch.Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if batch.get("tool_mask") is not None else mask


def exchange(
    batch: dict[str, Any],
    extra: dict[str, Any],
    moves: list[tuple[int, int]],
    group: int,
    own: tuple[range, range],
    pad_token: int,
    gather: Callable[[list[Any]], list[Any]] = gather_object,
) -> None:
    """Put prompt groups of `extra` into `batch`, in place. Both are one rank's part, as TRL returns it.

    moves: pairs of the group to replace and the group to put there, numbered over all ranks. A group may
    lie on two ranks, so the ranks gather the rows that move. group: completions per group. own: the places
    of this rank's completions in the batches of all ranks, of `batch` and of `extra`.
    """
    here, there = own
    rows = {to * group + i: source * group + i for to, source in moves for i in range(group)}
    sent = [
        (source, {name: tensor[[source - there.start]].cpu() for name, tensor in _rows_of(extra)})
        for source in rows.values()
        if source in there
    ]
    moved = dict(gather(sent))
    taken = {place - here.start: moved[source] for place, source in rows.items() if place in here}
    for name, tensor in _rows_of(batch) if taken else ():
        fill = pad_token if name in ("prompt_ids", "completion_ids") else int(name in _ONES)
        width = max(_width(rows) for rows in (tensor, *(row[name] for row in taken.values())))
        grown = _grow(tensor, width, name, fill)
        for place, row in taken.items():
            grown[place] = _grow(row[name], width, name, fill)[0]
        batch[name] = grown


def _rows_of(batch: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    """Return the tensors of a batch that have one row per completion."""
    return [
        (name, value)
        for name, value in batch.items()
        if isinstance(value, torch.Tensor) and value.dim()
    ]


def _width(rows: torch.Tensor) -> int:
    return rows.shape[1] if rows.dim() == 2 else 0


def _grow(rows: torch.Tensor, width: int, name: str, fill: int) -> torch.Tensor:
    """Return a copy of the rows, padded to a width on the side where TRL pads them."""
    missing = width - _width(rows)
    sides = (missing, 0) if name in _LEFT else (0, missing)
    return pad(rows, sides, value=fill) if missing else rows.clone()
