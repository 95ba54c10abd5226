"""Read the training rollouts of a run. Only the texts that are shown are kept."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin import rollouts
from axolotl_grpo_plugin.rollouts import COLUMN, ERROR, READ, REASON, REWARD
from axolotl_grpo_plugin.stats.rollouts import correctness
from axolotl_grpo_plugin.viewer.signs import Features, Sample, features

LONGEST = 200_000  # characters of a text in a page
_FOR_PHRASES = 2000  # completions
_TRL = {"step", "prompt", "completion", "advantage"}


@dataclass(slots=True)
class Rollout:
    """One completion without its text. file, place: of its row.

    scores, reasons, reads: by reward function. size: characters. features: for the signs.
    """

    file: Path
    place: int
    attempt: int
    step: int
    prompt: int
    tokens: int | None
    truncated: bool | None
    discarded: bool
    reward: float | None
    advantage: float | None
    scores: list[float | None]
    reasons: list[str | None]
    reads: list[str | None]
    error: str
    size: int
    features: Features


@dataclass
class Group:
    """The rollouts of a prompt in a step."""

    step: int
    prompt: int
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """The mean reward, 0.0 without scores."""
        return mean([each.reward for each in self.rollouts]) or 0.0

    @property
    def spread(self) -> float:
        """The highest minus the lowest reward. 0: the group is dead, because it teaches nothing."""
        rewards = [each.reward or 0.0 for each in self.rollouts]
        return max(rewards) - min(rewards)


class Log:
    """The training rollouts of a run.

    rewards: the names of the reward functions. prompts: each with the dataset's other columns. samples:
    some completions with their texts. broken: files that are not whole, because TRL was killed or still writes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rewards: list[str] = []
        self.prompts: dict[str, dict[str, Any]] = {}
        self.samples: list[Sample] = []
        self.rollouts: list[Rollout] = []
        self.broken: list[Path] = []
        self._numbers: dict[str, int] = {}
        self._read: set[Path] = set()

    def update(self) -> bool:
        """Read the files that are new. Return whether there are any."""
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid

        new = dict[Path, int]()
        self.broken = []
        for file in rollouts.files_of(self.folder):
            if file not in self._read:
                try:
                    new[file] = pq.read_metadata(file).num_rows
                except ArrowInvalid:
                    self.broken.append(file)
        rows = sum(new.values()) + len(self.rollouts)
        every = max(1, rows // _FOR_PHRASES)
        for file in new:
            for place, row in enumerate(rollouts.read(file)):
                self._add(file, place, row, every)
            self._read.add(file)
        return bool(new)

    def _add(self, file: Path, place: int, row: dict[str, Any], every: int) -> None:
        logged = "attempt" in row
        if not self.rewards:
            self.rewards = _rewards(row, logged)
        prompt = rollouts.as_text(row.get("prompt"))
        if prompt not in self._numbers:
            self._numbers[prompt] = len(self._numbers)
            columns = {key.removeprefix(COLUMN): row[key] for key in row if key.startswith(COLUMN)}
            self.prompts[prompt] = columns
        names = self.rewards
        seen = features(row.get("prompt"), row["completion"], self.prompts[prompt])
        rollout = Rollout(
            file=file,
            place=place,
            attempt=row.get("attempt", 1),
            step=row["step"],
            prompt=self._numbers[prompt],
            tokens=row.get("completion_tokens"),
            truncated=row.get("truncated"),
            discarded=bool(row.get("discarded")),
            reward=row.get("reward"),
            advantage=row.get("advantage"),
            scores=[row.get(REWARD + name if logged else name) for name in names],
            reasons=[row.get(REASON + name if logged else f"{name}/reason") for name in names],
            reads=[row.get(READ + name) for name in names],
            error="\n".join(row[ERROR + name] for name in names if row.get(ERROR + name)),
            size=len(rollouts.as_text(row["completion"]) or ""),
            features=seen,
        )
        if not logged:  # TRL's completions
            rollout.reward = sum(score or 0.0 for score in rollout.scores)
        if len(self.rollouts) % every == 0:
            score = rollout.scores[self.first] if names else None
            wrong = score is not None and score <= 0
            gained = rollout.advantage or 0.0
            self.samples.append(Sample.of(row["completion"], rollout.step, gained, wrong))
        self.rollouts.append(rollout)

    @property
    def first(self) -> int:
        """The number of the reward function that says what is right."""
        name = correctness(["completion", *self.rewards], logged=False)
        return self.rewards.index(name) if name else 0

    @property
    def best(self) -> list[float]:
        """The highest score of each reward function so far."""
        columns = zip(*(each.scores for each in self.rollouts), strict=True)
        return [max((each for each in column if each is not None), default=0) for column in columns]

    def groups(self) -> list[Group]:
        """Return the prompt groups by step, without the steps that a resumed run did again."""
        starts: dict[int, int] = {}
        for each in self.rollouts:
            starts[each.attempt] = min(each.step, starts.get(each.attempt, each.step))
        groups: dict[tuple[int, int], Group] = {}
        for each in self.rollouts:
            if all(each.step < start for later, start in starts.items() if later > each.attempt):
                key = (each.step, each.prompt)
                groups.setdefault(key, Group(*key)).rollouts.append(each)
        return sorted(groups.values(), key=lambda group: group.step)


def _rewards(row: dict[str, Any], logged: bool) -> list[str]:
    if logged:
        return [name.removeprefix(REWARD) for name in row if name.startswith(REWARD)]
    return [
        name
        for name, value in row.items()
        if name not in _TRL and isinstance(value, float | None) and "/" not in name
    ]


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
            found[file, place] = cut(rollouts.as_text(value) or "")
    return found


def cut(text: str) -> str:
    """Return a text, or its start if it is too long for a page."""
    left = len(text) - LONGEST
    return (
        text if left <= 0 else f"{text[:LONGEST]}\n[{left:,} more characters are not in this page]"
    )
