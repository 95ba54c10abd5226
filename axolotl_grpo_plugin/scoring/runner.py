"""Run the rewards of a training: guard them, replace failed scores, and stop if too many fail."""

import logging
from collections import Counter, deque
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import nn

from axolotl_grpo_plugin.completions import Completion, text_of
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, FindingError, exit_on_findings, fault
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.reward import NOT_THIS_TASK, Completions, Reward, Scorer
from axolotl_grpo_plugin.runlog.rewards import MOST_FREQUENT
from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups, Trainer, group_size
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW
from axolotl_grpo_plugin.scoring.guards import Guards, ScoringSettings
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog
from axolotl_grpo_plugin.scoring.worker import Outcomes, OutcomesOf

LOG = logging.getLogger(__name__)

_WINDOW = 20  # steps over which grpo_reward_error_limit counts failures
_ALL_SLOW = 4  # the smallest batch that stops a run if all its completions are too slow
_FEWEST = 4  # prompts; among fewer, equal answers are no sign
_SHOWN = 3  # failed scores to log per reward

Metrics = dict[str, list[float]]
# A metric, and the outcomes of which it is the share or the mean: those of a reward or a series, or all
# that have this metric.
Key = tuple[str, str]
TOTAL = "total"  # in the place of a metric: the number of those outcomes


class Counts(NamedTuple):
    """A reward's numbers of scores in one step, over all ranks. Rows of other tasks do not count."""

    failed: int
    scored: int
    too_slow: int


CountsOf = dict[str, Counts]  # of rewards, by logged name


class RewardRunner(Guards):
    """Runs the reward functions of a training, and wraps the trainer's `_calculate_rewards`.

    A failed score becomes the mean of its function in its prompt group. Metrics show the shares of
    failures and of reasons. If a reward fails too often, all ranks stop together.

    scores: of the last batch, over all ranks. (completions, functions)
    """

    scores: torch.Tensor

    def __init__(self, cfg: Config):
        super().__init__(reward_refs(cfg), ScoringSettings.of(cfg))
        self.rollouts = RolloutLog.of(cfg)
        self._recent: deque[tuple[int, CountsOf]] = deque()
        self._shown: Counter[str] = Counter()
        self._logged: set[Key] = set()
        self._lock = Lock()
        self._original: Any = None

    def reward_func(self, key: str) -> Scorer | str:
        """Return the guarded function for an entry of `trl.reward_funcs`, or a reward model's name."""
        return self.guards[key].for_trl() if key in self.guards else key

    def open(self, cfg: Any) -> None:
        """Patch Axolotl so that it gives TRL the guarded functions."""
        from axolotl.core.trainers.grpo import GRPOStrategy

        # Axolotl's own reward workers have no time limit, and lose what rewards log.
        cfg["trl"]["reward_num_workers"] = 1
        self._original = GRPOStrategy.get_reward_func
        GRPOStrategy.get_reward_func = self.reward_func

    def wrap_trainer(self, trainer: Trainer) -> None:
        """Wrap the `_calculate_rewards` of a trainer, Axolotl's or TRL's own."""
        calculate = trainer._calculate_rewards

        def calculate_rewards(*batch: Any) -> torch.Tensor:
            with exit_on_findings(), self._lock:
                for guard in self.guards.values():
                    guard.outcomes, guard.series = [], []
                return self._settle(trainer, calculate(*batch), batch)

        trainer._calculate_rewards = calculate_rewards
        for name, function in zip(trainer.reward_func_names, trainer.reward_funcs, strict=True):
            if isinstance(function, nn.Module):
                _guard_model(function, name)
        DeadGroups(trainer, self)
        if self.rollouts:
            self.rollouts.begin(self.rewards(trainer.reward_func_names))

    def close(self) -> None:
        """End the processes, and undo the patch of Axolotl."""
        if self._original:
            from axolotl.core.trainers.grpo import GRPOStrategy

            GRPOStrategy.get_reward_func = self._original
        super().close()

    def _settle(
        self, trainer: Trainer, table: torch.Tensor, batch: tuple[Any, ...]
    ) -> torch.Tensor:
        """Return the scores without failed ones. Log them, and stop the run if too many failed.

        batch: rows, prompts, completions and token ids.
        """
        _, prompts, completions, _ = batch
        scores = {}
        for name in trainer.reward_func_names:
            if name in self.by_name:  # no reward model
                scores[name] = self.by_name[name].outcomes
        training = trainer.model.training
        self.scores = neutral(table.masked_fill(~table.isfinite(), torch.nan), group_size(trainer))
        self._show(scores, prompts, completions)
        if self.rollouts:
            rank, count = trainer.accelerator.process_index, len(prompts)
            own = self.scores[rank * count : (rank + 1) * count]
            self.rollouts.stage(trainer, own, scores, *batch)
        # Axolotl's async trainer never writes the values of `log_metric`, so add to the metrics here.
        counts = self._log_metrics(
            trainer._metrics["train" if training else "eval"],
            scores,
            several=len(self.scores) >= _FEWEST * group_size(trainer),
        )
        self._stop_if_too_many(trainer.state.global_step, counts, scores, prompts)
        return self.scores

    def _log_metrics(
        self, metrics: Metrics, outcomes: OutcomesOf, several: bool = False
    ) -> CountsOf:
        """Log the metrics of each reward over all ranks. Return its counts.

        several: the batch has several prompts.
        """
        numbers, answers = Counter[Key](), Counter[str]()
        for of_rank, answers_of_rank in gather_object(
            [(self._count(outcomes), _answers(outcomes))]
        ):
            numbers.update(of_rank)
            answers.update(answers_of_rank)
        if several and any(answers):
            total = answers.total()
            del answers[""]
            metrics[MOST_FREQUENT].append(max(answers.values()) / total)
        for metric, base in numbers:
            if metric not in (TOTAL, TOO_SLOW):
                self._logged.add((metric, base))
        # A share that some step had is logged from then on, also as 0.
        for metric, base in self._logged:
            if total := numbers[TOTAL, base]:
                metrics[metric].append(numbers[metric, base] / total)
        counts = {}
        for name in outcomes:
            errors = numbers[f"reward_errors/{name}", name]
            timeouts = numbers[f"reward_timeouts/{name}", name]
            counts[name] = Counts(errors + timeouts, numbers[TOTAL, name], numbers[TOO_SLOW, name])
        return counts

    def _count(self, outcomes: OutcomesOf) -> Counter[Key]:
        """Return the numbers of this rank's outcomes.

        The outcomes of a series (`group_by`) have curves of their own, "reward/series".
        """
        numbers = Counter[Key]()

        def count(metric: str, base: str) -> None:
            numbers[metric, base] += 1

        def average(metric: str, value: float | None) -> None:
            if value is not None:
                count(TOTAL, metric)
                numbers[metric, metric] += value  # type: ignore[assignment]  # a sum of scores

        for reward in self.rewards(outcomes):
            name = reward.name
            guard = self.by_name[name]
            for series, outcome in zip(guard.series, outcomes[name], strict=True):
                if outcome.reason == NOT_THIS_TASK.reason:
                    continue
                count(TOTAL, name)
                if outcome.reason == TOO_SLOW:
                    count(TOO_SLOW, name)
                if outcome.timed_out:
                    count(f"reward_timeouts/{name}", name)
                elif outcome.error:
                    count(f"reward_errors/{name}", name)
                average(f"reward_right/{name}", reward.right(outcome.value))
                if series:
                    own = f"{name}/{series}"
                    count(TOTAL, own)
                    count(f"reward_reasons/{own}/{outcome.status or 'none'}", own)
                    average(f"rewards/{own}", outcome.value)
                elif outcome.reason in guard.reasons:
                    count(f"reward_reasons/{name}/{outcome.reason}", name)
        return numbers

    def _stop_if_too_many(
        self, step: int, counts: CountsOf, scores: OutcomesOf, prompts: Completions
    ) -> None:
        """Raise FindingError if too many scores of a batch or of the last steps failed, or all were slow."""
        limit = self.settings.error_limit
        if limit >= 1:
            return  # the config asks to go on

        self._recent.append((step, counts))
        span = step - self._recent[0][0] + 1
        for name, (failed, scored, too_slow) in counts.items():
            failure = None
            if too_slow == scored >= _ALL_SLOW:
                what = (
                    f"the reward {self.by_name[name].reward.key} took more than "
                    f"{self.settings.timeout:g} s of CPU time for each of {scored} completions"
                )
                fix = "Make it faster, or raise grpo_reward_timeout"
                failure = fault("slow-reward", "", what, fix)

            recent_failed = sum(recent[name].failed for _, recent in self._recent)
            recent_scored = sum(recent[name].scored for _, recent in self._recent)
            share = ""
            # One failed score may be the half of a small batch.
            if failed > 1 and failed >= max(0.5, limit) * scored:
                share = f"{failed} of {scored} scores of one batch"
            elif span >= _WINDOW and recent_failed > limit * recent_scored:
                share = f"{recent_failed} of {recent_scored} scores of the last {span} steps"

            if share and not failure:
                failure = self._failure(name, share, step, scores[name], prompts)
            if failure:
                raise FindingError(failure)

        while self._recent[0][0] <= step - _WINDOW + 1:
            self._recent.popleft()

    def _failure(
        self, name: str, share: str, step: int, scores: Outcomes, prompts: Completions
    ) -> Finding:
        example = "They failed on another rank; see its output."
        trace = ""
        fix = "Fix the function."
        guard = self.by_name[name]
        # The first error is the last one here.
        for score, prompt in zip(scores[::-1], prompts[::-1], strict=False):
            if score.error:
                example = (
                    f"The first error, for the prompt that ends in {_end(prompt)!r}: "
                    f"{score.error.strip().splitlines()[-1]}"
                )
                trace = score.error
            if score.timed_out:
                is_batch = not isinstance(guard.function, Reward)
                limit = "grpo_reward_batch_timeout" if is_batch else "grpo_reward_timeout"
                fix = f"Raise {limit}, or make the reward faster."
        what = f"the reward {guard.reward.key} failed in {share} (step {step}). {example}"
        fix += (
            f" grpo_reward_error_limit (now {self.settings.error_limit:g}) is the share of scores "
            "that may fail; 1.0 never stops the run"
        )
        return Finding("", what, fix, trace, code="failing-reward")

    def _show(self, scores: OutcomesOf, prompts: Completions, completions: Completions) -> None:
        """Log the first failed scores of each reward."""
        for name, own in scores.items():
            for score, prompt, completion in zip(own, prompts, completions, strict=False):
                if score.error and self._shown[name] < _SHOWN:
                    self._shown[name] += 1
                    LOG.warning(
                        "The reward %s failed (example %d of at most %d). Prompt: %r, completion: %r\n%s",
                        self.by_name[name].reward.key,
                        self._shown[name],
                        _SHOWN,
                        _end(prompt),
                        text_of(completion)[:500],
                        score.error,
                    )


def neutral(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Replace each NaN with the mean of its function in its prompt group.

    TRL alone counts a NaN as 0. That would punish a correct completion whose check timed out.

    scores: (completions, functions). group: completions per prompt group. A function that scored no
    completion of a group keeps its NaNs there.
    """
    grouped = scores.view(-1, group, scores.shape[1])
    means = grouped.nanmean(dim=1, keepdim=True)
    return grouped.where(~grouped.isnan(), means).view_as(scores)


def _answers(outcomes: OutcomesOf) -> Counter[str]:
    """Count the answers that the first reward read. "" counts completions without one."""
    return Counter(outcome.read for outcome in next(iter(outcomes.values()), []))


def _end(prompt: Completion) -> str:
    text = str(prompt[-1].get("content")) if isinstance(prompt, list) else str(prompt)
    return text[-100:]


def _guard_model(model: nn.Module, name: str) -> None:
    """Let a reward model give NaN scores if it raises an error. If it hangs, the run ends."""
    forward: Scorer = model.forward

    def guarded(*arguments: Any, **inputs: Any) -> Any:
        try:
            return forward(*arguments, **inputs)
        except torch.cuda.OutOfMemoryError:  # a RuntimeError too, but not because of a text
            raise
        except (ValueError, IndexError, RuntimeError):
            LOG.warning("The reward model %s failed on a batch.", name, exc_info=True)
            count = len(inputs["input_ids"])
            return SimpleNamespace(logits=torch.full((count, 1), torch.nan))

    model.forward = guarded
