"""Collect the data of a run for the page: curves, prompt groups, held-out and evaluation answers."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import yaml

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.runlog.reader import chat, read, rewards_in
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import COLUMN, REASON, REWARD, as_text
from axolotl_grpo_plugin.training.held_out import (
    FILE,
    RANGES,
    read_answers,
    read_changes,
    rewards_of_answers,
)
from axolotl_grpo_plugin.training.record import RUN, facts
from axolotl_grpo_plugin.training.report import short
from axolotl_grpo_plugin.viewer.log import LONGEST, Group, Log, cut, mean, texts
from axolotl_grpo_plugin.viewer.signs import SIGNS, Judge, phrases

SIZE = 40_000_000  # characters of completions in a page
_IN_ROLLOUTS = re.compile(
    r"reward|epoch$|step$|total_flos|num_tokens|completions/|held_out/|train_"
)

Rescore = Callable[[list[dict[str, Any]]], dict[LoggedReward, list[Any]]]


class Run:
    """One run. folder: its output_dir, or the folder of its rollouts. size: characters in a page.

    rescore: returns more scores of rows by the reward, as Outcome-like objects.
    Raises: FindingError if the folder has nothing to show.
    """

    def __init__(self, folder: Path, size: int = SIZE, rescore: Rescore | None = None):
        self.folder, self.size, self.rescore = folder, size, rescore
        self.config = _config(folder / RUN)
        logged = self.config.get("grpo_rollouts")
        elsewhere = isinstance(logged, str) and Path(logged).is_dir()
        answers = folder / FILE
        # TRL's completions have no ranges, but the run's held-out answers have them.
        known = rewards_of_answers([*read_answers(answers)]) if answers.exists() else []
        self.log = Log(Path(str(logged)) if elsewhere else folder, dict(known))
        self.log.update()
        if not self.log.rollouts and not answers.exists():
            what = "neither rollouts nor held-out answers"
            fix = "Name a run's output_dir. Train with `grpo_rollouts: true`"
            raise FindingError(str(folder), what, fix)

    def data(self) -> dict[str, Any]:
        """Return all that the page shows, as plain JSON."""
        log = self.log
        groups = log.groups()
        found = phrases(log.samples, [chat(each) for each in list(log.prompts)[:50]])
        judge = Judge(log.rollouts, found)
        notes = [log.files.note(), *(reward.no_right for reward in log.rewards[:1])]
        return {
            "name": self.folder.resolve().name,
            "facts": _facts(self.folder / RUN, self.config),
            "rewards": [short(reward.name) for reward in log.rewards],
            "notes": [*filter(None, notes)],
            "steps": [
                _step(step, list(each), judge) for step, each in groupby(groups, attrgetter("step"))
            ],
            "phrases": [{**each._asdict(), "pattern": each.pattern} for each in found],
            "weights": SIGNS,
            "total": len(log.rollouts),
            "curves": _curves(self.folder),
            "changes": [*_changes(self.folder / FILE)],
            "answers": [*_held_out(self.folder / FILE), *_evaluations(self.folder)],
            **self._chosen(sample(groups, self.size, judge), judge),
        }

    def _chosen(self, groups: Sequence[Group], judge: Judge) -> dict[str, Any]:
        """Return the rollouts of the page in columns, with their prompts."""
        rows = [each for group in groups for each in group.rollouts]
        found = texts(rows)
        written = [found[each.file, each.place] for each in rows]
        names: dict[str, int] = {}  # of reasons
        prompts = list(self.log.prompts.items())
        used = {number: place for place, number in enumerate(sorted({g.prompt for g in groups}))}
        data: dict[str, Any] = {
            "prompts": [cut(prompts[number][0] or "") for number in used],
            "columns": [prompts[number][1] for number in used],
            "groups": [[group.step, used[group.prompt], len(group.rollouts)] for group in groups],
            "text": written,
            "reward": [_round(each.reward) for each in rows],
            "advantage": [_round(each.advantage) for each in rows],
            "error": {place: each.error for place, each in enumerate(rows) if each.error},
            "signs": [judge.signs(*each) for each in zip(rows, written, strict=True)],
            "scores": [],
            "right": [],
            "why": [],
            "versions": [],
        }
        for name in ("tokens", "truncated", "discarded", "read"):
            data[name] = [*map(attrgetter(name), rows)]
        for n in range(len(self.log.rewards)):
            data["scores"].append([_round(rollout.scores[n]) for rollout in rows])
            data["right"].append([rollout.rights[n] for rollout in rows])
            whys = [names.setdefault(rollout.reasons[n] or "", len(names)) for rollout in rows]
            data["why"].append(whys)
        if self.rescore:
            asked = []
            for number, group in enumerate(groups):
                prompt, columns = prompts[group.prompt]
                own = {COLUMN + name: value for name, value in columns.items()}
                own |= {"prompt": chat(prompt), "step": group.step, "attempt": 1, "group": number}
                for rollout in group.rollouts:
                    text = found[rollout.file, rollout.place]
                    asked.append({**own, "completion": chat(text)})
            for reward, scored in self.rescore(asked).items():
                data["versions"].append(
                    {
                        "name": reward.name,
                        "scores": [_round(each.score) for each in scored],
                        "right": [reward.right(each.score) for each in scored],
                        "why": [names.setdefault(each.reason, len(names)) for each in scored],
                    }
                )
        return {**data, "reasons": list(names)}


def sample(groups: Sequence[Group], size: int, judge: Judge) -> list[Group]:
    """Return the groups whose texts fit `size` characters, by step.

    If not all fit, each step keeps its share: its most suspicious, worst, best, most different and
    one dead group first.
    """
    if sum(_size(group) for group in groups) <= size:
        return list(groups)
    steps = [list(each) for _, each in groupby(groups, attrgetter("step"))]
    chosen = []
    for step in steps:
        ordered = sorted(step, key=attrgetter("mean"))
        oddest = max(step, key=lambda group: judge.odd(group.rollouts))
        picks = [oddest, ordered[0], ordered[-1], max(step, key=attrgetter("spread"))]
        picks += [group for group in step if group.dead][:1] + step
        left, kept = size / len(steps), set[int]()
        for group in picks:
            if id(group) not in kept and (not kept or _size(group) <= left):
                kept.add(id(group))
                left -= _size(group)
        chosen += [group for group in step if id(group) in kept]
    return chosen


def _size(group: Group) -> int:
    return sum(min(each.size, LONGEST) for each in group.rollouts)


def _step(number: int, groups: list[Group], judge: Judge) -> dict[str, Any]:
    """Return the means of all rollouts that a step trains on."""
    rows = [each for group in groups for each in group.rollouts]
    trained = [each for each in rows if not each.discarded] or rows
    signs = Counter(sign for each in trained for sign in judge.signs(each, ""))
    scores, reasons = [], []
    for n in range(len(trained[0].scores)):
        scores.append(_round(mean(rollout.scores[n] for rollout in trained)))
        counts = Counter(rollout.reasons[n] for rollout in trained)
        reasons.append({why: _round(count / len(trained)) for why, count in counts.items() if why})
    alive = [group for group in groups if not group.rollouts[0].discarded] or groups
    return {
        "step": number,
        "rollouts": len(rows),
        "groups": len(groups),
        "reward": _round(mean(each.reward for each in trained)),
        "scores": scores,
        "right": _round(mean(each.right for each in trained)),
        "dead": _round(mean(group.dead for group in alive)),
        "truncated": _round(mean(each.truncated for each in trained)),
        "tokens": _round(mean(each.tokens or each.size for each in trained)),
        "reasons": reasons,
        "signs": {sign: _round(count / len(trained)) for sign, count in signs.items()},
    }


def _round(value: float | None) -> float | None:
    """Return a number with 4 digits, and None for NaN and infinity, which JSON lacks."""
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return float(f"{value:.4g}")


def _config(file: Path) -> dict[str, Any]:
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    return config if isinstance(config, dict) else {}


def _facts(file: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return facts about the run, from run.yaml and the lines on its top."""
    if not config:
        return {}
    trl = config.get("trl") or {}
    datasets = [str(each.get("path")) for each in config.get("datasets") or []]
    found = {
        "Model": config.get("base_model"),
        "Adapter": config.get("adapter"),
        "Datasets": ", ".join(datasets),
        "Rewards": ", ".join(map(str, trl.get("reward_funcs") or [])),
        "Learning rate": config.get("learning_rate"),
        **facts(file),
    }
    return {name: str(value) for name, value in found.items() if value}


def _curves(folder: Path) -> dict[str, list[list[float]]]:
    """Return the logged metrics that the rollouts do not tell, from a checkpoint or TensorBoard."""
    states = sorted(
        folder.glob("checkpoint-*/trainer_state.json"), key=lambda file: file.stat().st_mtime
    )
    curves: dict[str, list[list[float]]] = defaultdict(list)
    for file in states[-1:]:
        for entry in json.loads(file.read_text())["log_history"]:
            for name, value in entry.items():
                curves[name].append([entry["step"], value])
    if not states and any(folder.glob("runs/*/events.*")):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        for run in sorted(folder.glob("runs/*")):
            events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
            for tag in events.Tags()["scalars"]:
                points = [[each.step, each.value] for each in events.Scalars(tag)]
                curves[tag.removeprefix("train/")] += points
    return {
        name: [[step, number] for step, value in points if (number := _round(value)) is not None]
        for name, points in curves.items()
        if not _IN_ROLLOUTS.match(name) and len(points) > 1
    }


def _changes(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the changes of the held-out answers."""
    for change in read_changes(file) if file.exists() else ():
        ends = {"low": _round(change.low), "high": _round(change.high)}  # infinite for one row
        yield {**change._asdict(), "reward": short(change.reward), **ends}


def _held_out(file: Path) -> Iterator[dict[str, Any]]:
    """Yield a table of the held-out answers for each mode."""
    answers = [*read_answers(file)] if file.exists() else []
    rewards = rewards_of_answers(answers)
    own = {"when", "mode", "row", "prompt", "completion", "rewards", RANGES}
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for answer in answers:
        columns = {COLUMN + name: answer[name] for name in answer if name not in own}
        scores = {REWARD + name: score for name, score in answer["rewards"].items()}
        row = {**answer, **columns, **scores, "model": answer["when"], "sample": 0}
        tables[answer["mode"]].append(row)
    for mode, rows in tables.items():
        yield _table(f"held-out rows, {mode}", rewards, rows)


def _evaluations(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a table for each evaluated dataset and mode. `axolotl grpo eval` wrote the scores."""
    for scores in sorted(folder.glob("eval/**/scores.parquet")):
        judged = {row["key"]: row for row in read(scores)}
        rows = []
        for stored in (scores.parent / "answers", scores.parent.parent / "answers"):
            for file in sorted(stored.glob("*.parquet")):
                rows += [
                    {**row, **judged[row["key"]]} for row in read(file) if row["key"] in judged
                ]
        rows.sort(key=lambda row: (row["step"] is None, row["step"] or 0))
        key = itemgetter("dataset", "mode")
        for (dataset, mode), answers in groupby(sorted(rows, key=key), key):
            yield _table(f"{dataset}, {mode}", rewards_in(scores), [*answers])


def _table(
    title: str, rewards: list[LoggedReward], answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return answers to the same rows of several models, or of one at several moments."""
    first, moments = rewards[0], [*dict.fromkeys(answer["model"] for answer in answers)]
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for answer in answers:
        place = answer["row"], answer["sample"]
        if place not in rows:
            columns = [name for name in answer if name.startswith(COLUMN)]
            rows[place] = {
                "row": answer["row"],
                "sample": answer["sample"],
                "prompt": cut(as_text(answer["prompt"]) or ""),
                "columns": {name.removeprefix(COLUMN): as_text(answer[name]) for name in columns},
                "at": [None] * len(moments),
            }
        rows[place]["at"][moments.index(answer["model"])] = {
            "text": cut(as_text(answer["completion"]) or ""),
            "scores": [_round(answer.get(REWARD + name)) for name, _ in rewards],
            "why": [answer.get(REASON + name) or "" for name, _ in rewards],
            "right": first.right(answer.get(REWARD + first.name)),
        }
    return {
        "title": title,
        "rewards": [short(name) for name, _ in rewards],
        "note": first.no_right,
        "moments": moments,
        "rows": [*rows.values()],
    }
