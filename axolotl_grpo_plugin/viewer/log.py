"""Read the training rollouts of a run. Only the texts that are shown are kept."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.reward import OPENS
from axolotl_grpo_plugin.runlog.attempts import LogName, RolloutFiles, batches_in, rollout_files
from axolotl_grpo_plugin.runlog.reader import Row, chat, group_of, named, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import COLUMN, ERROR, READ, REASON, REWARD, as_text
from axolotl_grpo_plugin.thinking import with_opening
from axolotl_grpo_plugin.viewer.signs import ends_with_gold, repeats_itself

LONGEST = 200_000  # characters of a text in a page


class Prompt(NamedTuple):
    """A prompt of a run: its text, or JSON of its chat. columns: the dataset's other columns."""

    text: str
    columns: dict[str, Any]


@dataclass(slots=True)
class Rollout:
    """One completion without its text. file, row: the file of the log, and the index of its row there.

    scores, rights, reasons: by reward function. read: by the first. size: characters. repeats: it
    repeats itself. gold: it ends with the gold answer.
    """

    file: Path
    row: int
    tokens: int | None
    truncated: bool | None
    discarded: bool
    reward: float | None
    advantage: float | None
    read: str | None
    size: int
    repeats: bool
    gold: bool
    scores: list[float | None]
    rights: list[bool | None]
    reasons: list[str]
    error: str

    @property
    def right(self) -> bool | None:
        """Whether the first reward function gave its declared maximum, None if that is not known."""
        return self.rights[0]

    @property
    def paid(self) -> bool:
        """Whether the training rewards it."""
        return (self.advantage or 0.0) > 0 or bool(self.right)

    @property
    def length(self) -> int:
        """The number of tokens, or of characters if the log does not count tokens."""
        return self.tokens or self.size


@dataclass
class Group:
    """The rollouts of a prompt group."""

    step: int
    prompt: Prompt
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def dead(self) -> bool:
        """Whether the group teaches nothing, because all advantages are 0."""
        return not any(rollout.advantage for rollout in self.rollouts)


def shown_size(rollout: Rollout) -> int:
    """Return the characters of a rollout's text in a page."""
    return min(rollout.size, LONGEST)


def rollouts_of(groups: Iterable[Group]) -> list[Rollout]:
    """Return the rollouts of prompt groups in their order."""
    return list(chain.from_iterable(group.rollouts for group in groups))


class Log:
    """The training rollouts of a run.

    rewards: the reward functions. files: which files count, and which cannot be read. total: the number of rollouts.
    size: characters of the texts that a page of all rollouts has. lengths: of the rollouts that are paid. reads: whether
    the first reward function logs the text that it read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._clear()

    def _clear(self) -> None:
        self.rewards: list[LoggedReward] = []
        self._prompts: dict[str, Prompt] = {}
        self._groups: dict[Any, Group] = {}
        self._steps: defaultdict[int, list[Group]] = defaultdict(list)
        self.total = 0
        self.size = 0
        self.lengths: Counter[int] = Counter()
        self.reads = False
        self._read: dict[Path, list[Rollout]] = {}
        self._ends: dict[Path, int] = {}

    def update(self) -> int | None:
        """Read the files that are new. Return the first step that has changed, None if nothing has.

        0 if all steps may have changed.
        """
        self.files = rollout_files(self.folder)
        for file in self.files.counted:
            if file not in self._read:
                self._take_merged(file)
        if self._ends != self.files.ends or not self._read.keys() <= set(self.files.counted):
            # A new attempt repeats steps that were read.
            self._clear()
            self._ends = self.files.ends
        changed = inf if self._read else 0
        new = [file for file in self.files.counted if file not in self._read]
        if not new:
            return None
        if not self.rewards:
            self.rewards = self.files.rewards()
        if not self.rewards:
            return None  # TRL's table of completions
        for file in new:
            rows = chain.from_iterable(batch.to_pylist() for batch in self.files.batches(file))
            rollouts = self._read[file] = []
            for index, row in enumerate(rows):
                rollout, group = self._add(file, index, row)
                rollouts.append(rollout)
                changed = min(changed, group.step)
        return None if changed == inf else int(changed)  # files without rows

    def _take_merged(self, merged: Path) -> None:
        """Move the rollouts of batches that were read to the file into which they were merged."""
        name = LogName.of(merged)
        if not name or not name.is_merged:
            return
        files = {LogName.of(file): file for file in self._read}
        parts = [files[part] for part in files if part and name.covers(part)]
        if len(parts) < len(batches_in(merged)):
            return  # some were not read
        parts.sort(key=lambda file: LogName.of(file) or name)
        rollouts = list(chain.from_iterable(self._read.pop(file) for file in parts))
        for index, rollout in enumerate(rollouts):
            rollout.file, rollout.row = merged, index
        self._read[merged] = rollouts

    def _add(self, file: Path, index: int, row: Row) -> tuple[Rollout, Group]:
        asked = as_text(row.get("prompt"))
        if asked not in self._prompts:  # a row's columns are read once
            self._prompts[asked] = Prompt(asked, named(row, COLUMN))
        prompt = self._prompts[asked]
        text = text_of(chat(row["completion"]) or "")
        names = [reward.name for reward in self.rewards]
        rollout = Rollout(
            file=file,
            row=index,
            tokens=row.get("completion_tokens"),
            truncated=row.get("truncated"),
            discarded=bool(row.get("discarded")),
            reward=row.get("reward"),
            advantage=row.get("advantage"),
            read=row.get(READ + names[0]),
            size=len(as_text(row["completion"]) or ""),
            repeats=repeats_itself(text),
            gold=ends_with_gold(text, prompt.columns),
            scores=[row.get(REWARD + name) for name in names],
            rights=[reward.right(score_of(row, reward.name)) for reward in self.rewards],
            reasons=[row.get(REASON + name) or "" for name in names],
            error="\n".join(filter(None, [row.get(ERROR + name) for name in names])),
        )
        key = group_of(row)
        group = self._groups.get(key)
        if not group:
            group = self._groups[key] = Group(row["step"], prompt)
            self._steps[group.step].append(group)
        group.rollouts.append(rollout)
        self.total += 1
        self.size += shown_size(rollout)
        self.reads = self.reads or bool(rollout.read)
        if rollout.paid:
            self.lengths[rollout.length] += 1
        return rollout, group

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self._steps)

    def groups(self, start: int = 0) -> list[Group]:
        """Return the prompt groups by step. start: the first step."""
        steps = sorted(step for step in self._steps if step >= start)
        return list(chain.from_iterable(self._steps[step] for step in steps))


def texts(chosen: Sequence[Rollout], files: RolloutFiles) -> list[str]:
    """Return the texts of rollouts after the marks that their prompts open. A text that is too long for a page is cut.

    Args:
        chosen: The rollouts.
        files: The files of the log.
    """
    wanted: defaultdict[Path, dict[int, int]] = defaultdict(
        dict
    )  # row of the file: index in `chosen`
    for index, rollout in enumerate(chosen):
        wanted[rollout.file][rollout.row] = index
    found = [""] * len(chosen)
    for file, indices in wanted.items():
        start = 0
        # All texts of a run may not fit the memory.
        for batch in files.batches(file, ["completion", OPENS]):
            marks = batch[OPENS] if OPENS in batch.schema.names else None
            for row in range(batch.num_rows):
                if start + row in indices:
                    text = batch["completion"][row].as_py()
                    mark = marks[row].as_py() if marks else ""
                    # A chat is JSON, and TRL has read its thinking.
                    text = text if chat(text) is not text else with_opening(text, mark)
                    found[indices[start + row]] = cut(text)
            start += batch.num_rows
    return found


def cut(value: Any) -> str:
    """Return a text, or a chat as JSON, or its start if it is too long for a page."""
    text = as_text(value) or ""
    left = len(text) - LONGEST
    if left <= 0:
        return text
    return f"{text[:LONGEST]}\n[{left:,} more characters are not in this page]"
