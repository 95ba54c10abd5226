"""Show and check the results of a rehearsal: rewards that pay, and a checkpoint that resumes."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, fault, warning
from axolotl_grpo_plugin.load import load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.rehearsal.overlay import STEPS
from axolotl_grpo_plugin.runlog.reader import Row
from axolotl_grpo_plugin.runlog.schema import REWARD

RightAnswer = tuple[str, dict[str, float]]  # the text, and its score of each reward by its path


class Best(NamedTuple):
    """The highest scores of a reward: of the completions, of the right answers, and its own limit.

    None: no score, or no limit.
    """

    name: str
    completions: float | None
    right: float | None
    limit: float | None

    @property
    def pays(self) -> bool:
        return max(self.completions or 0.0, self.right or 0.0) > 0


def best_scores(cfg: Config, logged: Sequence[Row], answers: Sequence[RightAnswer]) -> list[Best]:
    """Return each reward's highest scores. logged: rollouts."""
    refs = reward_refs(cfg)
    found = []
    for ref, name in zip(refs, logged_names(refs), strict=True):
        scores = [row.get(REWARD + name) for row in logged]
        right = [earned.get(ref.key) for _, earned in answers]
        found.append(Best(name, _highest(scores), _highest(right), load_reward(ref).highest))
    return found


def _highest(scores: Sequence[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)


def check_pays(best: Sequence[Best], answer: str) -> Findings:
    """Check that some reward pays something: for a completion, or for a right answer.

    answer: a right answer, "" without one.
    """
    only_subtract = all(reward.limit is not None and reward.limit <= 0 for reward in best)
    if only_subtract or any(reward.pays for reward in best):
        return
    what = "no reward paid for any completion, and no right answer is known to try"
    fix = "Score a right completion with `axolotl-grpo reward score`, and correct the reward"
    if answer:
        what = f"no reward paid for any completion, nor for the right answer {answer!r:.100}"
        yield fault("right-answer-pays-nothing", "trl.reward_funcs", what, fix)
    else:
        yield warning("nothing-pays", "trl.reward_funcs", what, fix)


def check_checkpoint(checkpoint: Path) -> Findings:
    """Check that a checkpoint has the state of trainer and optimizer."""
    if not (checkpoint / "trainer_state.json").exists():
        yield fault(
            "no-checkpoint",
            checkpoint.name,
            "the run wrote no checkpoint",
            "See the log for the reason",
        )
    # DeepSpeed has a folder global_stepN.
    elif not any(chain(checkpoint.glob("optimizer*"), checkpoint.glob("global_step*"))):
        yield warning(
            "no-optimizer-state",
            "save_only_model",
            "it does not resume, because it has no state of the optimizer",
            "Remove save_only_model, if a run that stops must go on",
        )


def check_resumed(steps: Sequence[int]) -> Findings:
    """Check that the resumed run went on after the checkpoint. steps: of its whole log."""
    if list(steps) != list(range(1, STEPS + 2)):
        yield fault(
            "begins-again",
            "the step after the resume",
            f"it logged the steps {list(steps)}, but it must go on after {STEPS}",
            "Look for the reason in the log",
        )
