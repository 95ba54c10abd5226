"""Show and check the results of a rehearsal: rewards that pay, and a checkpoint that resumes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.load import logged_names, reward_refs
from axolotl_grpo_plugin.rehearsal.replace import STEPS
from axolotl_grpo_plugin.runlog.schema import REWARD
from axolotl_grpo_plugin.training.report import short


def table(cfg: Any, group: Sequence[Any], gold: str, earned: dict[str, float]) -> Any:
    """Return the rewards of a prompt's completions, and of a right answer. group: rollouts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    refs = reward_refs(cfg)
    names = logged_names(refs)
    shown = Table("", *map(short, names), "completion", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows = [
        (str(number), [row.get(REWARD + name) for name in names], text_of(row["completion"]))
        for number, row in enumerate(group, 1)
    ]
    rows.append(("right", [earned.get(ref.key) for ref in refs], gold or "not known"))
    for label, scores, text in rows:
        line = "".join(c if c.isprintable() else " " for c in text[:40])
        cells = ("none" if score is None else f"{score:g}" for score in scores)
        shown.add_row(label, *cells, Text(line, no_wrap=True, overflow="ellipsis"))
    return shown


def check_pays(
    cfg: Any, logged: Sequence[Any], tried: Sequence[tuple[str, dict[str, float]]]
) -> Iterator[Finding]:
    """Check that some reward pays something: for a completion, or for a right answer.

    logged: rollouts. tried: right answers with their scores. Both are empty for an unknown answer.
    """
    golds = [(gold, earned) for gold, earned in tried if earned]
    best = [value for _, earned in golds for value in earned.values()]
    best += [
        value
        for row in logged
        for key, value in row.items()
        if key.startswith(REWARD) and value is not None
    ]
    highest = [function.highest for _, _, function in functions_in(cfg)]
    if max(best, default=0.0) > 0 or all(each is not None and each <= 0 for each in highest):
        return
    what = f"no reward paid for any of {len(logged)} completions"
    fix = "Score a right completion with `axolotl grpo score`, and correct the reward"
    if golds:
        what += f", nor for the right answer {golds[0][0]!r:.100}"
        yield Finding(at(cfg, "trl.reward_funcs"), what, fix)
    else:
        what += ", and no right answer is known to try"
        yield Finding(at(cfg, "trl.reward_funcs"), what, fix, level="warning")


def check_checkpoint(checkpoint: Path, cfg: Any) -> Iterator[Finding]:
    """Check that a checkpoint has the state of trainer and optimizer."""
    if not (checkpoint / "trainer_state.json").exists():
        what = "the run wrote no checkpoint"
        yield Finding(checkpoint.name, what, "See the log for the reason")
    elif not any(checkpoint.glob("optimizer*")):
        what = "it does not resume, because it has no state of the optimizer"
        fix = "Remove save_only_model, if a run that stops must go on"
        yield Finding(at(cfg, "save_only_model"), what, fix, level="warning")


def check_resumed(steps: Sequence[int]) -> Iterator[Finding]:
    """Check that the resumed run went on after the checkpoint. steps: of its whole log."""
    if [*steps] != list(range(1, STEPS + 2)):
        what = (
            f"the run after the resume logged the steps {[*steps]}, but it must go on after {STEPS}"
        )
        yield Finding("the step after the resume", what, "Look for the reason in the log")
