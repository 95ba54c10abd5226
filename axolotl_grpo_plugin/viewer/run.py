"""Collect the data of a run for the page: curves, prompt groups, held-out and evaluation answers."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from math import isfinite
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import first_line, stop
from axolotl_grpo_plugin.runlog.attempts import RolloutFiles
from axolotl_grpo_plugin.runlog.reader import Row, named, raw_rows, rewards_in, why_unreadable
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, short
from axolotl_grpo_plugin.runlog.schema import COLUMN, REASON, REWARD, SCORES
from axolotl_grpo_plugin.training.record import HELD_OUT, RUN, facts
from axolotl_grpo_plugin.viewer.log import Group, Log, Rollout, cut, rollouts_of, shown_size, texts
from axolotl_grpo_plugin.viewer.signs import SIGNS, Judge, median

SIZE = 40_000_000  # characters of completions in a page
# Facts of a rollout.
_ROLLOUT_FIELDS = ("reward", "advantage", "tokens", "truncated", "discarded", "read")
Plain = dict[str, Any]  # of JSON


FileState = tuple[int, int]  # the time of its last change, and its bytes


class Change(NamedTuple):
    """The parts of a run that have changed.

    Attributes:
        step: The first step with new rollouts, 0 for all steps. None without new rollouts.
        answers: Whether there are new answers to held-out rows or of an evaluation.
    """

    step: int | None
    answers: bool


ALL = Change(0, True)
NOTHING = Change(None, False)


def joined(changes: Iterable[Change]) -> Change:
    """Return several changes as one."""
    steps, answers = zip(*changes, strict=True)
    return Change(min((step for step in steps if step is not None), default=None), any(answers))


class RunRecord:
    """One run. folder: its output_dir, or the folder of its rollouts.

    Raises: FindingError if the folder has nothing to show.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.config, self.unread = _config(folder / RUN)
        logged = Config(self.config).grpo_rollouts
        elsewhere = isinstance(logged, str) and Path(logged).is_dir()
        self.log = Log(Path(str(logged)) if elsewhere else folder)
        self._answers: dict[Path, FileState] = {}
        self.update()
        if not self.log.total and not (folder / HELD_OUT).exists():
            what = "neither rollouts nor held-out answers"
            stop(
                "no-rollouts",
                str(folder),
                f"{what}. {self.log.files.note()}".rstrip(" ."),
                "Name a run's output_dir. Its config must not have `grpo_rollouts: false`",
            )

    def update(self) -> Change:
        """Read the files that are new. Return the parts of the page that have changed."""
        step = self.log.update()
        before = self._answers
        self._answers = {
            file: (file.stat().st_mtime_ns, file.stat().st_size)
            for file in _answer_files(self.folder)
        }
        return Change(step, self._answers != before)

    def data(self, change: Change = ALL) -> Plain:
        """Return the data of the page, as plain JSON.

        Args:
            change: The parts that the page lacks. It keeps the steps before the first one that has changed.
        """
        log = self.log
        groups = [] if change.step is None else log.groups(change.step)
        judge = Judge(median(log.lengths), log.reads)
        notes = [self.unread, log.files.note()]
        readable = []
        for file in self._answers:
            if why := why_unreadable(file):
                notes.append(f"{file} is left out, because it cannot be read: {why}.")
            else:
                readable.append(file)
        if log.rewards:
            notes.append(log.rewards[0].no_right)
        answers = list(chain.from_iterable(map(_answers, readable))) if change.answers else None
        steps = groupby(groups, attrgetter("step"))
        return {
            "from": change.step,
            "name": self.folder.resolve().name,
            "facts": _facts(self.folder, self.config),
            "rewards": [short(reward.name) for reward in log.rewards],
            "notes": [note for note in notes if note],
            "steps": [_step(step, list(members)) for step, members in steps],
            "weights": SIGNS,
            "total": log.total,
            "answers": answers,
            **_chosen(self._sample(groups, judge), judge, log.files),
        }

    def _sample(self, groups: Sequence[Group], judge: Judge) -> list[Group]:
        """Return the groups whose texts fit the page, by step.

        If the texts of the run do not all fit, each step keeps its most suspicious groups, up to its share of the page.
        """
        if self.log.size <= SIZE:
            return list(groups)

        share = SIZE / self.log.steps
        chosen = []
        for _, step in groupby(groups, attrgetter("step")):
            oddest, *others = sorted(step, key=judge.odd, reverse=True)
            # The first is shown in any case, so that no step is empty.
            chosen.append(oddest)
            used = _size(oddest)
            for group in others:
                used += _size(group)
                if used <= share:
                    chosen.append(group)

        return chosen


def _chosen(groups: Sequence[Group], judge: Judge, files: RolloutFiles) -> Plain:
    """Return the rollouts of the page in columns, with their prompts."""
    rollouts = rollouts_of(groups)
    lines = []
    places: dict[str, int] = {}  # of the page's prompts
    columns = []
    for group in groups:
        text = group.prompt.text
        if text not in places:
            places[text] = len(places)
            columns.append(group.prompt.columns)
        lines.append([group.step, places[text], len(group.rollouts)])
    data: Plain = {
        "prompts": list(map(cut, places)),
        "columns": columns,
        "groups": lines,
        "text": texts(rollouts, files),
        "signs": list(map(judge.signs, rollouts)),
        "error": {place: rollout.error for place, rollout in enumerate(rollouts) if rollout.error},
        "scores": _by_reward(rollouts, "scores"),
        "right": _by_reward(rollouts, "rights"),
        "why": _by_reward(rollouts, "reasons"),
    }
    for name in _ROLLOUT_FIELDS:
        data[name] = list(map(_plain, map(attrgetter(name), rollouts)))
    return data


def _by_reward(rollouts: Iterable[Rollout], name: str) -> list[list[Any]]:
    """Return the values of rollouts by reward function."""
    columns = zip(*map(attrgetter(name), rollouts), strict=True)
    return [list(map(_plain, column)) for column in columns]


def _size(group: Group) -> int:
    return sum(map(shown_size, group.rollouts))


def _step(number: int, groups: list[Group]) -> Plain:
    """Return the means of all rollouts that a step trains on."""
    rollouts = rollouts_of(groups)
    trained = [rollout for rollout in rollouts if not rollout.discarded] or rollouts
    alive = [group for group in groups if not group.rollouts[0].discarded] or groups
    step = {
        "step": number,
        "rollouts": len(rollouts),
        "groups": len(groups),
        "dead": _mean(map(attrgetter("dead"), alive)),
        "tokens": _mean(map(attrgetter("length"), trained)),
        "scores": list(map(_mean, _by_reward(trained, "scores"))),
        "reasons": list(map(_shares, _by_reward(trained, "reasons"))),
    }
    for name in ("reward", "right", "truncated"):
        step[name] = _mean(map(attrgetter(name), trained))

    return step


def _shares(names: Sequence[str]) -> Plain:
    """Return how often each name occurs, as a share. Empty names are left out."""
    counts = Counter(names)
    return {name: _plain(count / len(names)) for name, count in counts.items() if name}


def _mean(values: Iterable[float | None]) -> Any:
    """Return the mean without None, or None if nothing is left."""
    numbers = [value for value in values if value is not None]
    return _plain(fmean(numbers)) if numbers else None


def _plain(value: Any) -> Any:
    """Return a number with 4 digits, None for NaN and infinity, which JSON lacks, and other values unchanged."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if isfinite(value) else None


def _facts(folder: Path, config: Plain) -> dict[str, str]:
    """Return facts about the run, from run.yaml and run.json."""
    if not config:
        return {}

    cfg = Config(config)
    return {
        "Model": str(cfg.base_model),
        "Rewards": ", ".join(map(str, cfg.trl.reward_funcs)),
        **facts(folder),
    }


def _config(file: Path) -> tuple[Plain, str]:
    """Return a run's config, and a sentence if it cannot be read."""
    if not file.exists():
        return {}, ""
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return {}, f"{file} is left out, because it cannot be read: {first_line(error)}."
    return (config if isinstance(config, dict) else {}), ""


def _answer_files(folder: Path) -> list[Path]:
    """Return the files of the answers to held-out rows and of `axolotl-grpo eval`."""
    return [*folder.glob(HELD_OUT), *sorted(folder.glob(f"eval/**/{SCORES}"))]


def _answers(file: Path) -> Iterator[Plain]:
    """Yield a table for each dataset and mode of a file of answers."""
    rewards = rewards_in(file)
    tables = defaultdict[str, list[Row]](list)
    for row in raw_rows(file):
        tables[f"{row['dataset']}, {row['mode']}"].append(row)
    for title, answers in tables.items():
        yield _table(title, rewards, answers)


def _table(title: str, rewards: list[LoggedReward], answers: list[Row]) -> Plain:
    """Return answers to the same rows of several models, or of one at several moments."""
    moments = list(dict.fromkeys(answer["model"] for answer in answers))
    names = [reward.name for reward in rewards]
    rows: dict[tuple[int, int], Plain] = {}
    for answer in answers:
        place = answer["row"], answer["sample"]
        if place not in rows:
            rows[place] = {
                "row": answer["row"],
                "sample": answer["sample"],
                "prompt": cut(answer["prompt"]),
                "columns": named(answer, COLUMN),
                "at": [None] * len(moments),
            }
        rows[place]["at"][moments.index(answer["model"])] = {
            "text": cut(answer["completion"]),
            "scores": [_plain(answer.get(REWARD + name)) for name in names],
            "why": [answer.get(REASON + name) or "" for name in names],
            "right": rewards[0].right(answer.get(REWARD + names[0])),
        }

    return {
        "title": title,
        "rewards": list(map(short, names)),
        "note": rewards[0].no_right,
        "moments": moments,
        "rows": list(rows.values()),
    }
