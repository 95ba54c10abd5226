"""Where Axolotl turns a reward's path into a function, this run's room gives it its guarded one."""

from typing import Any

from axolotl.core.trainers.grpo import GRPOStrategy

from axolotl_grpo_plugin.scoring.runner import RewardRunner

_AXOLOTLS = GRPOStrategy.get_reward_func
_room: RewardRunner | None = None


def open_room(cfg: Any) -> None:
    """Open the room of this run, if there is none yet: Axolotl says so again for a reference model."""
    global _room
    if _room is None:
        _room = RewardRunner(cfg)
        # Its own pool of reward workers has no time limit and drops what rewards log.
        cfg["trl"]["reward_num_workers"] = 1
        GRPOStrategy.get_reward_func = _room.reward_func


def room() -> RewardRunner:
    """The open one."""
    assert _room is not None, "no scoring room is open"
    return _room


def close_room() -> None:
    """End its processes, and let Axolotl resolve rewards itself again."""
    global _room
    if _room is not None:
        GRPOStrategy.get_reward_func = _AXOLOTLS
        _room.close()
        _room = None
