"""A few transformed rows of the datasets, right answers to them, and the rewards' scores of completions for them."""

import json
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import Names, Texts, turns_of
from axolotl_grpo_plugin.config import GENERATIONS, Config
from axolotl_grpo_plugin.data.hub import is_on_hub, skipped
from axolotl_grpo_plugin.data.measure import PROMPT_FIX, problem_of
from axolotl_grpo_plugin.data.rows import Row, Source, Transform, read, sources
from axolotl_grpo_plugin.data.tokenizer import LazyTokenizer, name_of
from axolotl_grpo_plugin.findings import Finding, FindingError, first_line
from axolotl_grpo_plugin.limits import PATIENCE
from axolotl_grpo_plugin.load import not_ready
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.scoring.guard import failure_of, is_failed
from axolotl_grpo_plugin.scoring.guards import Guards
from axolotl_grpo_plugin.thinking import with_closing
from axolotl_grpo_plugin.transforms.gsm8k import worked
from axolotl_grpo_plugin.transforms.rows import DatasetError

MAX_ROWS = 2  # of each dataset, because a judge among the rewards may cost money
MAX_COMPLETIONS = 64  # of a row, for the same reason
REASONING = "It is known."  # the reasoning of a right answer

Layout = Callable[[str], str]  # writes an answer as a completion


def _of_gym(raw: Row, row: Row) -> str | None:
    answer = json.loads(row["entry"])["answer"]
    # Some tasks of reasoning-gym store no answer.
    return f"<answer>{answer}</answer>" if answer else None


def _of_qa(raw: Row, row: Row) -> str:
    return worked(f"{REASONING} #### {_read(row['answer'])}", "gold")


# Functions that write a right answer in the layout that the transform's prompt asks for. They get the
# row before and after the transform.
RIGHT_COMPLETIONS: dict[str, Callable[[Row, Row], str | None]] = {
    "axolotl_grpo_plugin.choice": _of_qa,
    "axolotl_grpo_plugin.gsm8k": lambda raw, row: worked(raw["answer"], "gold"),
    "axolotl_grpo_plugin.gym": _of_gym,
    "axolotl_grpo_plugin.qa": _of_qa,
    "axolotl_grpo_plugin.math": lambda raw, row: rf"\boxed{{{row['solution']}}}",
}

# For other transforms: the columns that hold a gold answer, and the layouts in which a reward may read it.
ANSWERS = ("answer", "solution", "ground_truth", "gold", "label")
LAYOUTS: dict[str, Layout] = {
    "<answer>": f"<reasoning>\n{REASONING}\n</reasoning>\n<answer>\n{{}}\n</answer>".format,
    r"\boxed{}": r"It is \boxed{{{}}}.".format,
    "####": f"{REASONING}\n#### {{}}".format,
    "<think>": f"<think>\n{REASONING}\n</think>\n<answer>\n{{}}\n</answer>".format,
    "</think>": f"{REASONING}\n</think>\n<answer>\n{{}}\n</answer>".format,
    "<think> ####": f"<think>\n{REASONING}\n</think>\n#### {{}}".format,
    "Answer:": f"{REASONING}\n\nAnswer: {{}}".format,
    "bare text": str,
    "prose": "I think that it is {}".format,
}

# The layouts that a prompt asks for, by a mark in its text.
DEMANDS = {
    r"\boxed": [r"\boxed{}"],
    "<answer>": ["<answer>", "<think>", "</think>"],
    "####": ["####", "<think> ####"],
    "Answer:": ["Answer:"],
}
_ASKS_FOR_LINE = re.compile(
    r"""["'`*]?(?:final )?answer:\**["'`]?(?: ?[$\[<{(\\*"'`]|\s*$)""", re.IGNORECASE
)


def demanded(turns: Names) -> Texts:
    """Return the layouts that a prompt asks for, [] if it asks for none that is known."""
    text = "\n".join(turns)
    layouts: Texts = []
    for mark, names in DEMANDS.items():
        # A question may contain "Answer:", and a prompt of a base model may end in it.
        is_asked = _ASKS_FOR_LINE.search(text) if mark == "Answer:" else mark in text
        if is_asked:
            layouts += names
    return layouts


class Sample(NamedTuple):
    """A transformed row, and a right answer to it if one is known."""

    row: Row
    gold: str | None

    @property
    def turns(self) -> Texts:
        """The text of each message of the prompt."""
        return turns_of(self.row["prompt"])

    @property
    def prompt(self) -> str:
        """The text of the prompt, or of a chat's last message."""
        return self.turns[-1]


Samples = Sequence[Sample]


class RewardError(FindingError):
    """A reward returned no score that TRL can use."""

    def __init__(self, failure: Finding, row: Row):
        what = failure.what
        types = []
        for name, value in row.items():
            if name != "prompt" and not isinstance(value, str):
                types.append(f"{name} is {type(value).__name__}")
        if failure.detail and types:
            what += f". In this row, {' and '.join(types)}"
        super().__init__(failure._replace(what=what))


def training_samples(cfg: Config, offline: bool, limit: int) -> Samples:
    """Transform the first `limit` rows of each training dataset. Raises: FindingError if that fails."""
    taken: list[Sample] = []
    for source in sources(cfg):
        if source.key != "datasets":
            continue
        rows = samples(cfg, source, offline, limit)
        if isinstance(rows, Finding):
            raise FindingError(rows)
        taken += rows
    return taken


def samples(cfg: Config, source: Source, offline: bool, limit: int = MAX_ROWS) -> Samples | Finding:
    """Transform the first `limit` rows of a dataset. Return a finding if that fails.

    Args:
        cfg: The config.
        source: The dataset.
        offline: A dataset that is only on the hub makes a skipped check.
        limit: The number of rows.
    """
    where = cfg.at(source.name)
    hub_name = source.entry.get("path")  # first the dataset, then the tokenizer
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        rows = list(islice(next(read(source, cfg)), limit))
        hub_name = name_of(cfg)
        transformed = [transform([row])[0] for row in rows]
    except DatasetError as error:
        return error.at(where, source.name)
    except FindingError as error:  # of the file, or of the tokenizer
        if offline and is_on_hub(hub_name):
            return skipped(where)
        return error.finding
    except Exception as error:  # a user's transform
        what = f"the transform raised {type(error).__name__} on the first rows: {first_line(error)}"
        fix = "Correct it, or name another in `type:`, for example axolotl_grpo_plugin.qa"
        return Finding(where, what, fix, traceback.format_exc())
    # A user's own prompt may ask for any layout.
    has_prompt = cfg.grpo_system_prompt or cfg.grpo_prompt_template
    gold = None if has_prompt else RIGHT_COMPLETIONS.get(str(source.entry.get("type")))
    taken = []
    for (_, raw), new_rows in zip(rows, transformed, strict=True):
        for row in new_rows[:limit]:
            if wrong := problem_of(row):
                return Finding(where, wrong, PROMPT_FIX)
            answer = gold(raw, row) if gold else None
            taken.append(Sample(row, answer))
    return taken


def gold_of(row: Row, reads: Names = ANSWERS, kinds: Any = str | int | float) -> str | None:
    """Return a row's gold answer as text: the first column of ANSWERS that `reads` names.

    Args:
        row: The columns of the row.
        reads: The columns that the reward reads.
        kinds: The types that the answer may have.

    Returns:
        The gold answer, or None if there is no such column.
    """
    for name in ANSWERS:
        value = row.get(name)
        if name not in reads or value is None:
            continue
        if isinstance(value, kinds):
            return _read(as_text(value))
    return None


def _read(gold: str) -> str:
    # Here, because it imports mpmath.
    from axolotl_grpo_plugin.rewards.math import read_gold

    return read_gold(gold) or gold


def merged(found: Samples) -> Samples:
    """Return the samples with the columns of all, as datasets merges them."""
    nothing: Row = {}
    for sample in found:
        nothing |= dict.fromkeys(sample.row)
    return [sample._replace(row=nothing | sample.row) for sample in found]


class SampleScorer:
    """Scores completions of samples. Each is scored as a whole prompt group of equal completions."""

    def __init__(self, cfg: Config, guards: Guards):
        group = cfg.trl.num_generations or GENERATIONS
        self.group = min(group, MAX_COMPLETIONS)
        self.guards = guards
        self._steps = max(1, cfg.max_steps or 1)  # -1: the epochs count

    def finished(self, found: Samples, completions: Names) -> Texts:
        """Return a completion for each sample. If the prompt opens the thinking, the completion closes it."""
        marks = self.guards.ends([sample.row["prompt"] for sample in found])
        return [with_closing(*pair, REASONING) for pair in zip(completions, marks, strict=True)]

    def scores(self, key: str, found: Samples, completions: Names) -> list[float]:
        """Return the scores of a completion for each sample, without None. Raises: RewardError."""
        guard = self.guards.guards[key]
        rows: list[Row] = []
        texts: Texts = []
        for sample, text in zip(found, completions, strict=True):
            rows += [sample.row] * self.group
            texts += [text] * self.group
        # A few completions need no batch's time, unless they wait for a judge.
        patience = PATIENCE if guard.function.is_async else 1
        with guard.limited(patience * guard.timeout):
            outcomes = guard.score_list(rows, texts, self._steps)
        for outcome in filter(is_failed, outcomes):
            raise RewardError(failure_of(guard, outcome), found[0].row)
        return [outcome.value for outcome in outcomes if outcome.value is not None]


def gold_scores(cfg: Config, sample: Sample) -> tuple[str, dict[str, float]]:
    """Return a right answer to a sample, in the layout that earns the most, and its score of each reward.

    Both are empty if no right answer is known.
    """
    if sample.gold:
        texts = [sample.gold]
    else:
        gold = gold_of(sample.row, kinds=object)
        texts = [] if gold is None else [layout(gold) for layout in LAYOUTS.values()]
    answer = ""
    best: dict[str, float] = {}
    with closing(Guards.of(cfg)) as guards:
        scorer = SampleScorer(cfg, guards)
        for written in texts:
            (text,) = scorer.finished([sample], [written])
            earned = {}
            for key, guard in guards.guards.items():
                if not not_ready(guard.function):
                    earned[key] = max(scorer.scores(key, [sample], [text]), default=0.0)
            if not answer or sum(earned.values()) > sum(best.values()):
                answer = text
                best = earned
    return answer, best
