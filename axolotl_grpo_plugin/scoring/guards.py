"""The guarded reward functions of a config, and the processes that score for them."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rendered import PromptEnds
from axolotl_grpo_plugin.load import RewardRefs, is_model, load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool

_GIB = 1 << 30

Isolation = str | Mapping[str, str] | None  # of all rewards, or by key


@dataclass(frozen=True)
class ScoringSettings:
    """The settings of a config for scoring.

    Attributes:
        timeout: Seconds of CPU time per completion.
        batch_timeout: Seconds of wall time per batch, for all rewards together.
        memory: Bytes per scoring process.
        workers: The number of scoring processes.
        error_limit: The share of scores that may fail. From 1.0 on, no failure stops the run.
        isolation: "process" or "inline", of all rewards or by key. None is each reward's own choice.
    """

    timeout: float = 10.0
    batch_timeout: float = 450.0
    memory: int = 4 * _GIB
    workers: int = 1
    error_limit: float = 0.05
    isolation: Isolation = None

    @classmethod
    def of(cls, cfg: Config) -> Self:
        # After ddp_timeout seconds the other ranks give up, and the rest of a step takes time too.
        quarter = (cfg.ddp_timeout or 1800) / 4
        limit = cfg.grpo_reward_error_limit
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        cores = len(os.sched_getaffinity(0)) // ranks
        return cls(
            timeout=cfg.grpo_reward_timeout or cls.timeout,
            batch_timeout=cfg.grpo_reward_batch_timeout or quarter,
            memory=int((cfg.grpo_reward_memory or 4.0) * _GIB),
            workers=cfg.trl.reward_num_workers or max(1, cores),
            error_limit=cls.error_limit if limit is None else limit,
            isolation=cfg.grpo_reward_isolation,
        )

    def isolation_of(self, key: str) -> str | None:
        """Return a reward's isolation: "process", "inline", or None if it is not set."""
        if isinstance(self.isolation, Mapping):
            return self.isolation.get(key)
        return self.isolation


class Guards:
    """Guarded reward functions in the order of a config, and their processes. Reward models are left out.

    Attributes:
        guards: By the key in `trl.reward_funcs`.
        by_name: By the name in logs.
        pool: The processes. None if no reward needs one.
        ends: Finds the prompts that open the model's thinking.
    """

    def __init__(self, rewards: RewardRefs, settings: ScoringSettings, cfg: Config | None = None):
        """Load the rewards, and start the processes.

        Args:
            rewards: The reward functions.
            settings: Of scoring.
            cfg: The config whose chat template renders the prompts. Without it, only prompts that
                are text can open the model's thinking.
        """
        self.settings = settings
        self.ends = PromptEnds(cfg or Config({}))
        functions = {}
        isolated = []
        for reward, name in zip(rewards, logged_names(rewards), strict=True):
            if is_model(reward.key):
                continue
            functions[name] = reward
            function = load_reward(reward)
            isolation = settings.isolation_of(reward.key)
            in_trainer = isolation or function.is_async or function.spec.inline
            if isolation == "process" or not in_trainer:
                isolated.append(reward)
        self.pool = None
        if isolated:
            self.pool = Pool(settings.workers, settings.memory, isolated)
        self.by_name: dict[str, GuardedReward] = {}
        self.guards: dict[str, GuardedReward] = {}
        for name, reward in functions.items():
            guard = GuardedReward(
                reward,
                name,
                self.pool if reward in isolated else None,
                settings.timeout,
                settings.batch_timeout / len(functions),  # so that all together keep to the limit
                settings.isolation_of(reward.key),
                self.ends,
            )
            self.by_name[name] = self.guards[reward.key] = guard

    @classmethod
    def of(cls, cfg: Config) -> "Guards":
        return Guards(reward_refs(cfg), ScoringSettings.of(cfg), cfg)

    def rewards(self, names: Iterable[str]) -> list[LoggedReward]:
        """Return the reward functions of these logged names. A reward model declares no range."""
        rewards = []
        for name in names:
            guard = self.by_name.get(name)
            bounds = guard.function.spec.range if guard else None
            rewards.append(LoggedReward(name, bounds))
        return rewards

    def highest(self) -> dict[str, float]:
        """Return the best score of each reward that declares one, by its logged name."""
        best = {}
        for name, guard in self.by_name.items():
            if bounds := guard.function.spec.range:
                best[name] = bounds[1]
        return best

    def close(self) -> None:
        """End the processes."""
        if self.pool:
            self.pool.close()
