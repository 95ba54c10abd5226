"""Run the rewards of a training: guard them, replace failed scores, and stop if too many fail."""

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather, gather_object
from torch import nn

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import block, number_of, tokens_of
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW, GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog
from axolotl_grpo_plugin.scoring.worker import Outcome

LOG = logging.getLogger(__name__)

_WINDOW = 20  # steps over which grpo_reward_error_limit counts failures
_ALL_SLOW = 4  # the smallest batch that stops a run if all its completions are too slow
_SHOWN = 3  # failed scores to log per reward
_GIB = 1 << 30


class FailingRewardError(ConfigError):
    """A reward fails too often to train on."""


@dataclass(frozen=True)
class ScoringSettings:
    """The settings of a config that RewardRunner reads. Times in seconds, memory in bytes."""

    timeout: float = 10.0
    batch_timeout: float = 450.0
    memory: int = 4 * _GIB
    workers: int = 1
    error_limit: float = 0.05

    @classmethod
    def of(cls, cfg: Any) -> "ScoringSettings":
        # After ddp_timeout seconds the other ranks give up, and the rest of a step takes time too.
        quarter = (number_of(cfg.get("ddp_timeout")) or 1800) / 4
        limit = number_of(cfg.get("grpo_reward_error_limit"))
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return cls(
            timeout=number_of(cfg.get("grpo_reward_timeout")) or cls.timeout,
            batch_timeout=number_of(cfg.get("grpo_reward_batch_timeout")) or quarter,
            memory=int((number_of(cfg.get("grpo_reward_memory")) or 4.0) * _GIB),
            workers=tokens_of(block(cfg, "trl").get("reward_num_workers")) or max(1, cores),
            error_limit=cls.error_limit if limit is None else limit,
        )


class Counts(NamedTuple):
    """A reward's numbers of scores in one step, over all ranks. Rows of other tasks do not count."""

    failed: int
    scored: int
    too_slow: int


class RewardRunner:
    """Runs the reward functions safely, and wraps the trainer's `_calculate_rewards`.

    A failed score becomes the mean of its function in its prompt group. Metrics show the shares of
    failures and of reasons. If a reward fails too often, all ranks stop together.

    scores: of the last batch, over all ranks. (completions, functions)
    """

    scores: torch.Tensor

    def __init__(self, cfg: Any):
        self.settings = settings = ScoringSettings.of(cfg)
        rewards = reward_refs(cfg)
        named = [
            (reward, name)
            for reward, name in zip(rewards, logged_names(rewards), strict=True)
            if not is_model(reward.key)
        ]
        isolation = {reward.key: isolation_of(cfg, reward.key) for reward, _ in named}
        isolated = [reward for reward, _ in named if _needs_process(reward, isolation[reward.key])]
        self.pool = Pool(settings.workers, settings.memory, isolated) if isolated else None
        self.guards = {
            reward.key: GuardedReward(
                reward,
                name,
                self.pool if reward in isolated else None,
                settings.timeout,
                settings.batch_timeout / len(named),
                isolation[reward.key],
            )
            for reward, name in named
        }
        self.rollouts = RolloutLog.of(cfg)
        self._by_name = {guard.name: guard for guard in self.guards.values()}
        self._ranges = {guard.name: guard.function.spec.range for guard in self.guards.values()}
        self._recent: deque[tuple[int, dict[str, Counts]]] = deque()
        self._shown: Counter[str] = Counter()
        self._logged: set[str] = set()  # the shares that were not 0 in some step
        self._lock = Lock()
        self._original: Any = None

    def reward_func(self, key: str) -> Any:
        """Return the guarded function for an entry of `trl.reward_funcs`, or a reward model's name."""
        return self.guards[key].for_trl() if key in self.guards else key

    def rewards(self, names: Iterable[str]) -> list[LoggedReward]:
        """Return the reward functions of these logged names. A reward model declares no range."""
        return [LoggedReward(name, self._ranges.get(name)) for name in names]

    def highest(self) -> dict[str, float]:
        """Return the best score of each reward that declares one, by its logged name."""
        known = {name: guard.function.highest for name, guard in self._by_name.items()}
        return {name: best for name, best in known.items() if best is not None}

    def open(self, cfg: Any) -> None:
        """Patch Axolotl so that it gives TRL the guarded functions."""
        from axolotl.core.trainers.grpo import GRPOStrategy

        # Axolotl's own reward workers have no time limit, and lose what rewards log.
        cfg["trl"]["reward_num_workers"] = 1
        self._original = GRPOStrategy.get_reward_func
        GRPOStrategy.get_reward_func = self.reward_func

    def wrap_trainer(self, trainer: Any) -> None:
        """Wrap the `_calculate_rewards` of a trainer, Axolotl's or TRL's own."""
        calculate = trainer._calculate_rewards

        def calculate_rewards(
            inputs: Any, prompts: Any, completions: Any, ids: Any
        ) -> torch.Tensor:
            with self._lock:
                for guard in self.guards.values():
                    guard.outcomes, guard.series = [], []
                scores: torch.Tensor = calculate(inputs, prompts, completions, ids)
                return self._settle(trainer, scores, inputs, prompts, completions, ids)

        trainer._calculate_rewards = calculate_rewards
        for name, function in zip(trainer.reward_func_names, trainer.reward_funcs, strict=True):
            if isinstance(function, nn.Module):
                _guard_model(function, name)
        dead = DeadGroups(trainer, self)
        dead.wrap_generation()
        if self.rollouts:
            self.rollouts.attach(trainer, self.rewards(trainer.reward_func_names))
        dead.wrap_deferred_scoring()  # after the rollout log, which must see its advantages

    def close(self) -> None:
        """End the processes, and undo the patch of Axolotl."""
        if self._original:
            from axolotl.core.trainers.grpo import GRPOStrategy

            GRPOStrategy.get_reward_func = self._original
        if self.pool:
            self.pool.close()

    def _settle(
        self,
        trainer: Any,
        scores: torch.Tensor,
        inputs: Any,
        prompts: Any,
        completions: Any,
        ids: Any,
    ) -> torch.Tensor:
        outcomes = {
            name: self._by_name[name].outcomes
            for name in trainer.reward_func_names
            if name in self._by_name
        }
        training = trainer.model.training
        scores = scores.masked_fill(~scores.isfinite(), torch.nan)
        group = trainer.num_generations if training else trainer.num_generations_eval
        self.scores = scores = neutral(scores, group)
        self._show(outcomes, prompts, completions)
        if self.rollouts:
            rank, count = trainer.accelerator.process_index, len(prompts)
            own = scores[rank * count : (rank + 1) * count]
            self.rollouts.stage(trainer, own, inputs, prompts, completions, ids, outcomes)
        counts = self._log_metrics(trainer, outcomes)
        self._stop_if_too_many(trainer.state.global_step, counts, outcomes, prompts)
        return scores

    def _log_metrics(self, trainer: Any, outcomes: dict[str, list[Outcome]]) -> dict[str, Counts]:
        """Log the metrics of each reward over all ranks. Return its counts."""
        own = {}
        for name, scored in outcomes.items():
            reasons = Counter(each.reason for each in scored)
            timeouts = sum(each.timed_out for each in scored)
            own[name, "reward_timeouts"] = timeouts
            own[name, "reward_errors"] = sum(bool(each.error) for each in scored) - timeouts
            own[name, "scored"] = len(scored) - reasons["not_this_task"]
            own[name, "too_slow"] = reasons[TOO_SLOW]
            reward = LoggedReward(name, self._ranges[name])
            verdicts = [reward.right(outcome.value) for outcome in scored]
            own[name, "right"], own[name, "wrong"] = map(verdicts.count, (True, False))
            for reason in self._reasons(name):
                own[name, f"reason {reason}"] = reasons[reason]
        numbers = torch.tensor([[*own.values()]], device=trainer.accelerator.device)
        of = dict(zip(own, gather(numbers).sum(dim=0).tolist(), strict=True))
        # Axolotl's async trainer never writes the values of `log_metric`, so add to the metrics here.
        metrics = trainer._metrics["train" if trainer.model.training else "eval"]
        counts = {}
        for name in outcomes:
            errors, timeouts = of[name, "reward_errors"], of[name, "reward_timeouts"]
            total = of[name, "scored"]
            counts[name] = Counts(errors + timeouts, total, of[name, "too_slow"])
            shares = {f"reward_errors/{name}": errors, f"reward_timeouts/{name}": timeouts}
            for reason in self._reasons(name) if total else ():
                shares[f"reward_reasons/{name}/{reason}"] = of[name, f"reason {reason}"]
            self._log_shares(metrics, shares, max(total, 1))
            right = of[name, "right"]
            if judged := right + of[name, "wrong"]:
                metrics[f"reward_right/{name}"].append(right / judged)
        for series, rows in self._series(outcomes).items():
            values = [value for value, _ in rows if value is not None]
            if values:
                metrics[f"rewards/{series}"].append(fmean(values))
            prefix = f"reward_reasons/{series}/"
            seen = {each: 0 for each in self._logged if each.startswith(prefix)}
            reasons = Counter(prefix + reason for _, reason in rows)
            self._log_shares(metrics, {**seen, **reasons}, len(rows))
        return counts

    def _log_shares(self, metrics: Any, counts: dict[str, int], total: int) -> None:
        """Log each count as a share of the total, from its first step above 0 on."""
        for name, times in counts.items():
            if times or name in self._logged:
                self._logged.add(name)
                metrics[name].append(times / total)

    def _reasons(self, name: str) -> tuple[str, ...]:
        """Return the reasons to log for a reward. With `group_by`, each series logs its own."""
        guard = self._by_name[name]
        return () if guard.function.spec.group_by else guard.reasons

    def _series(
        self, outcomes: dict[str, list[Outcome]]
    ) -> dict[str, list[tuple[float | None, str]]]:
        """Return (score, status) of each row of all ranks, by "reward/series". Only `group_by` makes series."""
        own = [
            (f"{name}/{series}", outcome.value, outcome.status or "none")
            for name, scored in outcomes.items()
            for series, outcome in zip(self._by_name[name].series, scored, strict=True)
            if series and outcome.reason != "not_this_task"
        ]
        rows: dict[str, list[tuple[float | None, str]]] = {}
        # All ranks have the same rewards, so either all of them gather or no rank does.
        if any(self._by_name[name].function.spec.group_by for name in outcomes):
            for series, value, status in gather_object(own):
                rows.setdefault(series, []).append((value, status))
        return rows

    def _stop_if_too_many(
        self,
        step: int,
        counts: dict[str, Counts],
        outcomes: dict[str, list[Outcome]],
        prompts: Any,
    ) -> None:
        """Raise FailingRewardError if too many scores of a batch or of the last steps failed, or all were slow."""
        limit = self.settings.error_limit
        self._recent.append((step, counts))
        span = step - self._recent[0][0] + 1
        for name, (failed, scored, too_slow) in counts.items() if limit < 1 else ():
            if too_slow == scored >= _ALL_SLOW:
                raise FailingRewardError(
                    f"axolotl-grpo-plugin: the reward {self._by_name[name].reward.key} took more than "
                    f"{self.settings.timeout:g} s of CPU time for each of {scored} completions. Make it "
                    "faster, or raise grpo_reward_timeout."
                )
            recent_failed = sum(recent[name].failed for _, recent in self._recent)
            recent_scored = sum(recent[name].scored for _, recent in self._recent)
            if failed > 1 and failed >= max(0.5, limit) * scored:
                share = f"{failed} of {scored} scores of one batch"
            elif span >= _WINDOW and recent_failed > limit * recent_scored:
                share = f"{recent_failed} of {recent_scored} scores of the last {span} steps"
            else:
                continue
            raise FailingRewardError(self._message(name, share, step, outcomes[name], prompts))
        while self._recent[0][0] <= step - _WINDOW + 1:
            self._recent.popleft()

    def _message(
        self, name: str, share: str, step: int, outcomes: list[Outcome], prompts: Any
    ) -> str:
        example, trace = "They failed on another rank; see its output.", ""
        for outcome, prompt in zip(outcomes, prompts, strict=False):
            if outcome.error:
                last = outcome.error.strip().splitlines()[-1]
                example = f"The first error, for the prompt that ends in {_end(prompt)!r}: {last}"
                trace = f"\n\n{outcome.error}"
                break
        guard = self._by_name[name]
        late = any(each.timed_out for each in outcomes)
        fix = f"Raise {guard.timed_by}, or make the reward faster." if late else "Fix the function."
        return (
            f"axolotl-grpo-plugin: the reward {guard.reward.key} failed in {share} (step {step}). {example}\n"
            f"  {fix} grpo_reward_error_limit (now {self.settings.error_limit:g}) is the share of scores "
            f"that may fail; 1.0 never stops the run.{trace}"
        )

    def _show(self, outcomes: dict[str, list[Outcome]], prompts: Any, completions: Any) -> None:
        for name, scored in outcomes.items():
            for outcome, prompt, completion in zip(scored, prompts, completions, strict=False):
                if outcome.error and self._shown[name] < _SHOWN:
                    self._shown[name] += 1
                    LOG.warning(
                        "The reward %s failed (example %d of at most %d). Prompt: %r, completion: %r\n%s",
                        self._by_name[name].reward.key,
                        self._shown[name],
                        _SHOWN,
                        _end(prompt),
                        text_of(completion)[:500],
                        outcome.error,
                    )


def neutral(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Replace each NaN with the mean of its function in its prompt group.

    TRL alone counts a NaN as 0. That would punish a correct completion whose check timed out.

    scores: (completions, functions). group: completions per prompt group. A function that scored no
    completion of a group keeps its NaNs there.
    """
    grouped = scores.view(-1, group, scores.shape[1])
    means = grouped.nanmean(dim=1, keepdim=True).expand_as(grouped)
    return torch.where(grouped.isnan(), means, grouped).view_as(scores)


def isolation_of(cfg: Any, key: str) -> str | None:
    """Return a reward's `grpo_reward_isolation`: "process", "inline", or None if it is not set."""
    value = cfg.get("grpo_reward_isolation")
    return value.get(key) if isinstance(value, dict) else value


def _needs_process(reward: RewardRef, isolation: str | None) -> bool:
    function = load_reward(reward)
    if function.is_async or isolation == "inline":
        return False
    return isolation == "process" or not function.spec.inline


def _end(prompt: Any) -> str:
    text = prompt if isinstance(prompt, str) else str(prompt[-1].get("content"))
    return text[-100:]


def _guard_model(model: nn.Module, name: str) -> None:
    """Let a reward model give NaN scores if it raises an error. One that hangs cannot be stopped."""
    forward: Callable[..., Any] = model.forward

    def guarded(*arguments: Any, **inputs: Any) -> Any:
        try:
            return forward(*arguments, **inputs)
        except (ValueError, IndexError, RuntimeError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            LOG.warning("The reward model %s failed on a batch.", name, exc_info=True)
            logits = torch.full((len(inputs["input_ids"]), 1), torch.nan)
            return SimpleNamespace(logits=logits)

    model.forward = guarded
