"""Runs the rewards of a training: guarded functions, their processes, and the handling of failed scores."""

import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from threading import Lock
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from torch import nn

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW, GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog
from axolotl_grpo_plugin.scoring.worker import Outcome

LOG = logging.getLogger(__name__)

_WINDOW = 20  # steps that grpo_reward_error_limit counts over
_ALL_SLOW = 4  # completions at least, all of a batch, that were too slow
_SHOWN = 3  # failed scores of a reward that are shown whole
_GIB = 1 << 30


class RewardError(ConfigError):
    """A reward fails too often to train on."""


@dataclass(frozen=True)
class Settings:
    """The keys of a YAML that the room reads, with their defaults. Times in seconds."""

    timeout: float = 10.0
    batch_timeout: float = 450.0
    memory: int = 4 * _GIB
    workers: int = 1
    error_limit: float = 0.05

    @classmethod
    def of(cls, cfg: Any) -> "Settings":
        # The rest of a step needs its time too before the other ranks give this one up.
        quarter = (cfg.get("ddp_timeout") or 1800) / 4
        limit = cfg.get("grpo_reward_error_limit")
        return cls(
            timeout=cfg.get("grpo_reward_timeout") or cls.timeout,
            batch_timeout=cfg.get("grpo_reward_batch_timeout") or quarter,
            memory=int((cfg.get("grpo_reward_memory") or 4.0) * _GIB),
            workers=cfg["trl"].get("reward_num_workers") or _cores_of_a_rank(),
            error_limit=cls.error_limit if limit is None else limit,
        )


class RewardRunner:
    """Runs the reward functions safely, and wraps the trainer's `_calculate_rewards`.

    A failed score becomes the mean of its function in its prompt group. The shares of failures and
    of reasons are metrics. A reward that fails too often ends the run, on all ranks together.
    """

    def __init__(self, cfg: Any):
        self.settings = settings = Settings.of(cfg)
        self.pool: Pool | None = None
        self.rewards = reward_refs(cfg)
        self.names = dict(
            zip((each.key for each in self.rewards), logged_names(self.rewards), strict=True)
        )
        own = [each for each in self.rewards if not is_model(each.key)]
        isolation = {each.key: isolation_of(cfg, each.key) for each in own}
        isolated = [each for each in own if _needs_a_process(each, isolation[each.key])]
        if isolated:
            self.pool = Pool(settings.workers, settings.memory, isolated)
        share = settings.batch_timeout / max(len(own), 1)
        self.guards = {
            each.key: GuardedReward(
                each,
                self.names[each.key],
                self.pool if each in isolated else None,
                settings.timeout,
                share,
                isolation[each.key],
            )
            for each in own
        }
        self.rollouts = RolloutLog.of(cfg)
        self._of_name = {guard.name: guard for guard in self.guards.values()}
        self._recent: deque[tuple[int, Counter[str], Counter[str]]] = deque()
        self._shown: Counter[str] = Counter()
        self._seen: dict[str, dict[str, None]] = {}  # the reasons that a series had so far
        self._lock = Lock()
        self._axolotls: Any = None

    def reward_func(self, key: str) -> Any:
        """What Axolotl gives TRL for that string of `trl.reward_funcs`: a guarded function, or a model's name."""
        return self.guards[key].for_trl() if key in self.guards else key

    def highest(self) -> dict[str, float]:
        """Return the best score of each reward that declares one, by its logged name."""
        known = {name: guard.function.highest for name, guard in self._of_name.items()}
        return {name: best for name, best in known.items() if best is not None}

    def open(self, cfg: Any) -> None:
        """Let Axolotl give TRL the guarded functions in place of the rewards that the YAML names."""
        from axolotl.core.trainers.grpo import GRPOStrategy

        # Axolotl's own pool of reward workers has no time limit and drops what rewards log.
        cfg["trl"]["reward_num_workers"] = 1
        self._axolotls = GRPOStrategy.get_reward_func
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
        if self.rollouts:
            self.rollouts.attach(trainer)

    def close(self) -> None:
        """End the processes, and let Axolotl resolve rewards itself again."""
        if self._axolotls:
            from axolotl.core.trainers.grpo import GRPOStrategy

            GRPOStrategy.get_reward_func = self._axolotls
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
            name: self._of_name[name].outcomes
            for name in trainer.reward_func_names
            if name in self._of_name
        }
        training = trainer.model.training
        scores = scores.masked_fill(~scores.isfinite(), torch.nan)
        group = trainer.num_generations if training else trainer.num_generations_eval
        scores = neutral(scores, group)
        self._show(outcomes, prompts, completions)
        if self.rollouts:
            rank, count = trainer.accelerator.process_index, len(prompts)
            own = scores[rank * count : (rank + 1) * count]
            self.rollouts.stage(trainer, own, inputs, prompts, completions, ids, outcomes)
        failed, scored, slow = self._count(trainer, outcomes)
        self._stop_if_all_are_slow(slow, scored)
        self._stop_if_too_many(trainer.state.global_step, failed, scored, outcomes, prompts)
        return scores

    def _count(
        self, trainer: Any, outcomes: dict[str, list[Outcome]]
    ) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """Log each reward's shares over all ranks. Return its failed, all, and its too slow scores.

        A row of another task does not count.
        """
        keys, values = [], []
        for name, scored in outcomes.items():
            late = sum(each.timed_out for each in scored)
            wrong = sum(bool(each.error) and not each.timed_out for each in scored)
            said = Counter(each.reason for each in scored)
            keys += [
                (name, "reward_errors"),
                (name, "reward_timeouts"),
                (name, "own"),
                (name, "slow"),
            ]
            values += [wrong, late, len(scored) - said["not_this_task"], said[TOO_SLOW]]
            for reason in self._reasons(name):
                keys.append((name, reason))
                values.append(said[reason])
        sums = torch.tensor([values], dtype=torch.float32, device=trainer.accelerator.device)
        of = dict(zip(keys, gather(sums).sum(dim=0).tolist(), strict=True))
        # Not by `log_metric`: Axolotl's async trainer never flushes what that holds.
        metrics = trainer._metrics["train" if trainer.model.training else "eval"]
        failed: Counter[str] = Counter()
        own: Counter[str] = Counter()
        for name in outcomes:
            own[name] = int(of[name, "own"])
            for kind in ("reward_errors", "reward_timeouts"):
                metrics[f"{kind}/{name}"].append(of[name, kind] / max(own[name], 1))
                failed[name] += int(of[name, kind])
            for reason in self._reasons(name) if own[name] else ():
                metrics[f"reward_reasons/{name}/{reason}"].append(of[name, reason] / own[name])
        for series, found in self._series(outcomes).items():
            scores = [value for value, _ in found if value is not None]
            if scores:
                metrics[f"rewards/{series}"].append(fmean(scores))
            said = Counter(reason for _, reason in found)
            seen = self._seen.setdefault(series, {})
            seen.update(dict.fromkeys(sorted(said)))  # from then on a curve, zeros too
            for reason in seen:
                metrics[f"reward_reasons/{series}/{reason}"].append(said[reason] / len(found))
        return failed, own, Counter({name: int(of[name, "slow"]) for name in outcomes})

    def _stop_if_all_are_slow(self, slow: Counter[str], scored: Counter[str]) -> None:
        """Raise RewardError if a whole batch was too slow: then the reward is at fault."""
        for name, count in slow.items():
            if count == scored[name] >= _ALL_SLOW and self.settings.error_limit < 1:
                raise RewardError(
                    f"axolotl-grpo-plugin: the reward {self._of_name[name].reward.key} took more than "
                    f"{self.settings.timeout:g} s of CPU time for each of {count} completions. Make it "
                    "faster, or raise grpo_reward_timeout."
                )

    def _reasons(self, name: str) -> tuple[str, ...]:
        """Those that are curves; of a reward that is logged apart, each series has its own."""
        guard = self._of_name[name]
        return () if guard.function.spec.group_by else guard.reasons

    def _series(
        self, outcomes: dict[str, list[Outcome]]
    ) -> dict[str, list[tuple[float | None, str]]]:
        """Score and reason, of all ranks, of what is logged apart: by the name of reward and series."""
        own = [
            (f"{name}/{series}", outcome.value, outcome.said or "none")
            for name, scored in outcomes.items()
            for series, outcome in zip(self._of_name[name].series, scored, strict=True)
            if series and outcome.reason != "not_this_task"
        ]
        together: dict[str, list[tuple[float | None, str]]] = {}
        if any(
            self._of_name[name].function.spec.group_by for name in outcomes
        ):  # on all ranks, or on none
            for series, value, reason in gather_object(own):
                together.setdefault(series, []).append((value, reason))
        return together

    def _stop_if_too_many(
        self,
        step: int,
        failed: Counter[str],
        scored: Counter[str],
        outcomes: dict[str, list[Outcome]],
        prompts: Any,
    ) -> None:
        limit = self.settings.error_limit
        self._recent.append((step, failed, scored))
        span = step - self._recent[0][0] + 1
        for name in outcomes if limit < 1 else ():
            recently = sum(each[1][name] for each in self._recent)
            of = sum(each[2][name] for each in self._recent)
            if failed[name] > 1 and failed[name] >= max(0.5, limit) * scored[name]:
                count = f"{failed[name]} of {scored[name]} scores of one batch"
            elif span >= _WINDOW and recently > limit * of:
                count = f"{recently} of {of} scores of the last {span} steps"
            else:
                continue
            raise RewardError(self._say(name, count, step, outcomes[name], prompts))
        while self._recent[0][0] <= step - _WINDOW + 1:
            self._recent.popleft()

    def _say(self, name: str, count: str, step: int, outcomes: list[Outcome], prompts: Any) -> str:
        place = next((i for i, each in enumerate(outcomes) if each.error), None)
        if place is None:
            what = "on another rank, whose output says how"
        else:
            line = outcomes[place].error.strip().splitlines()[-1]
            what = f"for one: {line}, in the row whose prompt ends in {_end(prompts[place])!r}"
        guard = self._of_name[name]
        key, late = guard.reward.key, any(each.timed_out for each in outcomes)
        fix = f"raise {guard.timed_by}, or make it faster" if late else "fix the function"
        return (
            f"axolotl-grpo-plugin: the reward {key} failed in {count} (step {step}), {what}\n"
            f"  {fix[0].upper()}{fix[1:]}; grpo_reward_error_limit (now {self.settings.error_limit:g}) "
            "is the share that may fail, and 1.0 never stops the run"
            + (f"\n\n{outcomes[place].error}" if place is not None else "")
        )

    def _show(self, outcomes: dict[str, list[Outcome]], prompts: Any, completions: Any) -> None:
        for name, scored in outcomes.items():
            for outcome, prompt, completion in zip(scored, prompts, completions, strict=False):
                if outcome.error and self._shown[name] < _SHOWN:
                    self._shown[name] += 1
                    LOG.warning(
                        "the reward %s failed (%d of the %d that are shown); prompt: %r, completion: %r\n%s",
                        self._of_name[name].reward.key,
                        self._shown[name],
                        _SHOWN,
                        _end(prompt),
                        text_of(completion)[:500],
                        outcome.error,
                    )


def neutral(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Scores (completions, functions), each NaN the mean of its function in its group of `group` rows.

    A group in which a function scored nothing keeps its NaN. TRL alone counts a NaN as 0, and
    a right completion whose check timed out would be punished for it.
    """
    grouped = scores.view(-1, group, scores.shape[1])
    means = grouped.nanmean(dim=1, keepdim=True).expand_as(grouped)
    return torch.where(grouped.isnan(), means, grouped).view_as(scores)


def isolation_of(cfg: Any, key: str) -> str | None:
    """ "process" or "inline", as the YAML says it of all rewards or of this one; None where it does not."""
    said = cfg.get("grpo_reward_isolation")
    return said.get(key) if isinstance(said, dict) else said


def _needs_a_process(reward: RewardRef, isolation: str | None) -> bool:
    function = load_reward(reward)
    if function.is_async or isolation == "inline":
        return False
    return isolation == "process" or not function.spec.inline


def _cores_of_a_rank() -> int:
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _end(prompt: Any) -> str:
    text = prompt if isinstance(prompt, str) else str(prompt[-1].get("content"))
    return text[-100:]


def _guard_model(model: nn.Module, name: str) -> None:
    """A reward model that raises gives no scores, as a function does; one that hangs cannot be ended."""
    forward: Callable[..., Any] = model.forward

    def guarded(*arguments: Any, **inputs: Any) -> Any:
        try:
            return forward(*arguments, **inputs)
        except (ValueError, IndexError, RuntimeError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            LOG.warning("the reward model %s failed on a batch", name, exc_info=True)
            logits = torch.full((len(inputs["input_ids"]), 1), torch.nan)
            return SimpleNamespace(logits=logits)

    model.forward = guarded
