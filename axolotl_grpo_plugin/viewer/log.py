"""Read the training rollouts of a run. Only the texts that are shown are kept."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import group_of, read, rewards_in, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, Ranges
from axolotl_grpo_plugin.runlog.schema import COLUMN, ERROR, READ, REASON, REWARD, as_text
from axolotl_grpo_plugin.viewer.signs import Features, Sample, features

LONGEST = 200_000  # characters of a text in a page
_FOR_PHRASES = 2000  # completions


@dataclass(slots=True)
class Rollout:
    """One completion without its text. file, place: of its row.

    scores, rights, reasons: by reward function. read: by the first. size: characters. features: for the signs.
    """

    file: Path
    place: int
    step: int
    prompt: int
    tokens: int | None
    truncated: bool | None
    discarded: bool
    reward: float | None
    advantage: float | None
    scores: list[float | None]
    rights: list[bool | None]
    reasons: list[str | None]
    read: str | None
    error: str
    size: int
    features: Features

    @property
    def right(self) -> bool | None:
        """Whether the first reward function gave its declared maximum, None if that is not known."""
        return self.rights[0]


@dataclass
class Group:
    """The rollouts of a prompt group."""

    step: int
    prompt: int
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """The mean reward, 0.0 without scores."""
        return mean([each.reward for each in self.rollouts]) or 0.0

    @property
    def spread(self) -> float:
        """The highest minus the lowest reward."""
        rewards = [each.reward or 0.0 for each in self.rollouts]
        return max(rewards) - min(rewards)

    @property
    def dead(self) -> bool:
        """Whether the group teaches nothing, because all advantages are 0."""
        return not any(rollout.advantage for rollout in self.rollouts)


class Log:
    """The training rollouts of a run.

    known: ranges for a log that has none. rewards: the reward functions. prompts: each with the dataset's other columns. samples: some completions
    with their texts. broken: files that are not whole, because TRL was killed or still writes.
    """

    def __init__(self, folder: Path, known: Ranges | None = None):
        self.folder, self.known = folder, known
        self._clear()

    def _clear(self) -> None:
        self.rewards: list[LoggedReward] = []
        self.prompts: dict[str, dict[str, Any]] = {}
        self.samples: list[Sample] = []
        self.rollouts: list[Rollout] = []
        self.broken: list[Path] = []
        self._groups: dict[Any, Group] = {}
        self._numbers: dict[str, int] = {}
        self._read: set[Path] = set()

    def update(self) -> bool:
        """Read the files that are new. Return whether there are any."""
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid

        new = dict[Path, int]()
        self.files = rollout_files(self.folder)
        if not self._read.issubset(
            self.files.counted
        ):  # a new attempt repeats steps that were read
            self._clear()
        self.broken = []
        for file in self.files.counted:
            if file not in self._read:
                try:
                    new[file] = pq.read_metadata(file).num_rows
                except ArrowInvalid:
                    self.broken.append(file)
        rows = sum(new.values()) + len(self.rollouts)
        every = max(1, rows // _FOR_PHRASES)
        for file in new:
            self.rewards = self.rewards or rewards_in([*new][-1], self.known)
            for place, row in enumerate(read(file)):
                self._add(file, place, row, every)
            self._read.add(file)
        return bool(new)

    def _add(self, file: Path, place: int, row: dict[str, Any], every: int) -> None:
        prompt = as_text(row.get("prompt"))
        if prompt not in self._numbers:
            self._numbers[prompt] = len(self._numbers)
            columns = {key.removeprefix(COLUMN): row[key] for key in row if key.startswith(COLUMN)}
            self.prompts[prompt] = columns
        names = [reward.name for reward in self.rewards]
        seen = features(row.get("prompt"), row["completion"], self.prompts[prompt])
        rollout = Rollout(
            file=file,
            place=place,
            step=row["step"],
            prompt=self._numbers[prompt],
            tokens=row.get("completion_tokens"),
            truncated=row.get("truncated"),
            discarded=bool(row.get("discarded")),
            reward=row.get("reward"),
            advantage=row.get("advantage"),
            scores=[row.get(REWARD + name) for name in names],
            rights=[reward.right(score_of(row, reward.name)) for reward in self.rewards],
            reasons=[row.get(REASON + name) for name in names],
            read=row.get(f"{READ}{names[0]}"),
            error="\n".join(row[ERROR + name] for name in names if row.get(ERROR + name)),
            size=len(as_text(row["completion"]) or ""),
            features=seen,
        )
        if len(self.rollouts) % every == 0:
            wrong = rollout.right is False and (rollout.scores[0] or 0.0) <= 0
            gained = rollout.advantage or 0.0
            self.samples.append(Sample.of(row["completion"], rollout.step, gained, wrong))
        self.rollouts.append(rollout)
        group = self._groups.setdefault(group_of(row), Group(rollout.step, rollout.prompt))
        group.rollouts.append(rollout)

    def groups(self) -> list[Group]:
        """Return the prompt groups by step."""
        return sorted(self._groups.values(), key=lambda group: group.step)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean without None, or None if nothing is left."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def texts(chosen: Iterable[Rollout]) -> dict[tuple[Path, int], str]:
    """Return the texts of rollouts by file and place. A text that is too long for a page is cut."""
    import pyarrow.parquet as pq

    places: dict[Path, list[int]] = defaultdict(list)
    for each in chosen:
        places[each.file].append(each.place)
    found = {}
    for file, wanted in places.items():
        column = pq.read_table(file, columns=["completion"])["completion"].take(sorted(wanted))
        for place, value in zip(sorted(wanted), column.to_pylist(), strict=True):
            found[file, place] = cut(as_text(value) or "")
    return found


def cut(text: str) -> str:
    """Return a text, or its start if it is too long for a page."""
    left = len(text) - LONGEST
    return (
        text if left <= 0 else f"{text[:LONGEST]}\n[{left:,} more characters are not in this page]"
    )
