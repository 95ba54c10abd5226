"""Make TRL reward functions from a function that scores one completion (`@reward`) or one group.

All kinds of rewards share the class `BaseReward`, so other code never needs to test for attributes.
"""

import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from itertools import groupby
from typing import Any, NamedTuple, Self

from axolotl_grpo_plugin.completions import Completion, Names, text_of
from axolotl_grpo_plugin.thinking import opened_by, with_opening

# The mark of thinking in which the rendered prompt ends, such as "<think>", or "".
OPENS = "prompt_opens"
# The completion as TRL passes it, text or chat messages, for a scorer that reads more than its text.
MESSAGES = "completion_messages"
# TRL's GRPOTrainer passes these beside the dataset's columns, and the guard passes OPENS. TRL passes the prompt as
# `prompts`.
NOT_COLUMNS = frozenset(
    {
        "prompt",
        "completion_ids",
        "trainer_state",
        "log_extra",
        "log_metric",
        "environments",
        OPENS,
        MESSAGES,
    }
)
OF_TRL = NOT_COLUMNS | {"prompts", "completions"}  # the parameters that TRL itself fills

Prompts = Sequence[Completion | None]
Completions = Sequence[Completion]
Values = list[float | None]  # what TRL gets
Range = tuple[float, float]  # the lowest and the highest score
Row = dict[str, Any]  # the columns that one completion is scored with
Rows = list[Row]
Options = Mapping[str, Any]  # the options of a reward, or the columns of a row, by name
Scorer = Callable[..., Any]


class Score(NamedTuple):
    """The score of a completion. A scorer may also return a plain number.

    Attributes:
        value: The reward, or None if the completion cannot be scored. TRL leaves None out of the
            weighted sum of the rewards.
        reason: One word, such as "correct" or "wrong_value". It is logged beside the completion.
        read: The part of the completion that was scored. `axolotl-grpo reward score` shows it.
    """

    value: float | None
    reason: str
    read: str = ""


Scores = list[Score]
NOT_THIS_TASK = Score(None, "not_this_task")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The facts about a reward.

    Give names as a sequence, or a single name as a text. They are kept as a tuple.

    Attributes:
        range: The lowest and the highest score, None if they are not known.
        reads: The dataset columns that the scorer needs.
        may_read: The dataset columns that the scorer takes if they exist, else None.
        reasons: The possible reasons of a score.
        inline: The scorer may run in the trainer's process.
        first: A quick check that decides about some completions, or None.
        ready: A check of the machine before training, or None.
        group_by: A column of `reads`, or "". The run gets one curve of mean scores per value of it.
        row_problem: Takes columns by name. It returns why no completion of the row can be scored,
            or "".
        row_columns: The columns that `row_problem` takes, if they are not those of `reads`. They
            contain those of `reads`.
        unroutable: Only for a reward that passes rows to others. It takes a row, and returns why
            no reward scores it and how to fix that, or "".
        inner: The rewards that this one is made of.
    """

    range: Range | None = None
    reads: Names = ()
    may_read: Names = ()
    reasons: Names = ()
    inline: bool = False
    first: Callable[..., Score | None] | None = None
    ready: Callable[..., None] | None = None
    group_by: str = ""
    row_problem: Callable[..., str] | None = None
    row_columns: Names = ()
    unroutable: Callable[[Row], str] | None = None
    inner: "Sequence[BaseReward]" = ()

    def __post_init__(self) -> None:
        for field in ("reads", "may_read", "reasons"):
            names = getattr(self, field)
            if isinstance(names, str):
                if len(names.split()) > 1:
                    raise TypeError(f"{field}: {names!r} is one text. Write a tuple of names")
                names = [names]
            object.__setattr__(self, field, tuple(names))

    @property
    def columns(self) -> list[str]:
        """The columns that the scorer takes: first the necessary ones, then the optional ones."""
        return [*self.reads, *self.may_read]


class BaseReward(ABC):
    """A reward function as TRL calls it.

    Args:
        function: The Python function that scores. The reward takes its name and docstring.
        spec: The facts about the reward.
        bound: The options that were set, by name.
    """

    is_async = False

    def __init__(self, function: Scorer, spec: Spec, bound: Row | None = None):
        self.function = function
        self.spec = spec
        self.bound = bound or {}
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        if self.is_async:
            inspect.markcoroutinefunction(self)  # for TRL

    @property
    def options(self) -> Row:
        """The options, each with the value that was set or else its default."""
        return dict(self.bound)

    @property
    def path(self) -> str:
        """The dotted path of the reward in a config."""
        return f"{self.__module__}.{self.__name__}"

    @property
    def highest(self) -> float | None:
        """The best score, or None if it is not known."""
        return self.spec.range[1] if self.spec.range else None

    def ready(self) -> None:
        """Check that the reward can work on this machine.

        Raises:
            RuntimeError: It cannot. The message has the fix.
        """
        ready = self.spec.ready
        if ready:
            taken = self.bound.keys() & signature(ready).parameters.keys()
            ready(**{name: self.bound[name] for name in taken})

    @abstractmethod
    def scores(self, prompts: Prompts, completions: Completions, **columns: object) -> Any:
        """Return a score for each completion of a batch, in the same order."""

    def __call__(self, prompts: Prompts, completions: Completions, **columns: object) -> Values:
        return self._values(self.scores(prompts, completions, **columns), columns)

    def _values(self, scores: Scores, columns: Row) -> Values:
        # TRL adds this column to its table of completions. Axolotl's reward workers do not pass it.
        if log_extra := columns.get("log_extra"):
            log_extra(f"{self.__name__}/reason", [score.reason for score in scores])
        return [score.value for score in scores]

    def rows(self, prompts: Prompts | None, completions: Completions, columns: Row) -> Rows:
        """Return the columns that the reward reads, for each completion.

        Args:
            prompts: The prompt of each completion.
            completions: The completions of a batch.
            columns: Dataset columns by name. Each has one entry per completion.

        Raises:
            ValueError: The dataset lacks a column.
            TypeError: The caller passes an option as a column.
        """
        for name in self.options.keys() & columns.keys():
            # TRL passes a column as a list. A column may have the name of an option.
            if isinstance(columns[name], (str, float, int)):
                raise TypeError(
                    f"{self.path}: {name!r} is an option, but it was passed like a column. "
                    f"Use `{self.__name__}.bind({name}={columns[name]!r})`."
                )
        nothing = [None] * len(completions)
        prompts = prompts or nothing
        opens = columns.get(OPENS) or nothing
        marks = [mark or _opened_by(prompt) for mark, prompt in zip(opens, prompts, strict=True)]
        columns = {**columns, "prompt": prompts, OPENS: marks}
        rows: Rows = [{OPENS: mark} if mark else {} for mark in marks]
        for name in self.spec.columns:
            if name not in columns and name in self.spec.reads:
                present = ", ".join(sorted(columns.keys() - NOT_COLUMNS)) or "none"
                raise ValueError(
                    f"{self.path} reads the column {name!r}, which the dataset lacks (it has: "
                    f"{present}). Change the transform so that it keeps or makes that column"
                )
            for row, value in zip(rows, columns.get(name, nothing), strict=True):
                row[name] = value
        return rows

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by path, as a function is


class _Decorated(BaseReward):
    """A reward that a decorator made. Its options are the scorer's parameters that are not columns."""

    @property
    def options(self) -> Row:
        return {**_defaults(self.function, self.spec), **self.bound}

    def bind(self, **options: object) -> Self:
        """Return this reward with options set.

        Raises:
            TypeError: An option is unknown, or its value has a wrong type.
        """
        parameters = signature(self.function).parameters
        known = {name: parameters[name] for name in self.options}
        check_options(self.__name__, known, options)
        if not options:
            return self
        return type(self)(self.function, self.spec, {**self.bound, **options})

    def is_other_task(self, columns: Mapping[str, object]) -> bool:
        """Return whether a row lacks a column that the scorer needs."""
        return any(columns[name] is None for name in self.spec.reads)

    def _read(self, completion: Completion, columns: Row) -> tuple[str, Row]:
        """Return the text of a completion, and the columns that the scorer takes.

        The mark of thinking that the prompt has opened stands before the text, unless the scorer
        takes it as a column.
        """
        text = text_of(completion)
        prompt = columns.get("prompt")
        mark = columns.get(OPENS) or _opened_by(prompt)
        taken = {name: value for name, value in columns.items() if name != OPENS}
        if "prompt" not in self.spec.columns:
            taken.pop("prompt", None)
        if MESSAGES in self.spec.columns:
            taken[MESSAGES] = completion
        if OPENS in self.spec.columns:
            return text, {**taken, OPENS: mark}
        return with_opening(text, mark), taken

    def row_problem(self, columns: Options) -> str:
        """Return why no completion of a row can be scored, or ""."""
        check = self.spec.row_problem
        row = {name: columns.get(name) for name in [*self.spec.reads, *self.spec.row_columns]}
        if check is None or self.is_other_task(row):
            return ""
        return check(**row)


class Reward(_Decorated):
    """A reward of one completion. `reward` makes it."""

    @property
    def range(self) -> Range:
        """The lowest and the highest score."""
        assert self.spec.range is not None
        return self.spec.range

    def score(self, completion: Completion, **columns: object) -> Score:
        """Score one completion.

        Args:
            completion: A string, or chat messages.
            columns: The completion's value of each column in `spec.columns`, by name. `prompt_opens`
                is the mark of thinking that the rendered prompt ends in, such as "<think>". Without
                it, a `prompt` that is text is looked at.
        """
        if self.is_other_task(columns):
            return NOT_THIS_TASK
        text, columns = self._read(completion, columns)
        result = self._first(text, columns)
        if result is None:
            result = as_score(self.function(text, **columns, **self.bound))
        return result

    def quick(self, completion: Completion, **columns: object) -> Score | None:
        """Return the score if that takes linear time and cannot fail, else None."""
        if self.spec.inline or self.is_other_task(columns):
            return self.score(completion, **columns)
        return self._first(*self._read(completion, columns))

    def _first(self, text: str, columns: Row) -> Score | None:
        first = self.spec.first
        return first(text, **columns, **self.bound) if first else None

    def scores(self, prompts: Prompts, completions: Completions, **columns: object) -> Scores:
        rows = self.rows(prompts, completions, columns)
        return [self.score(text, **row) for text, row in zip(completions, rows, strict=True)]


class GroupReward(_Decorated):
    """A reward that scores the completions of a prompt together. `group_reward` makes it."""

    def scores(self, prompts: Prompts, completions: Completions, **columns: object) -> Scores:
        rows = self.rows(prompts, completions, columns)
        scores = [NOT_THIS_TASK] * len(rows)
        for _, group in groupby(range(len(rows)), key=lambda index: prompts[index]):
            indices = [index for index in group if not self.is_other_task(rows[index])]
            if not indices:
                continue
            texts = [self._read(completions[index], rows[index])[0] for index in indices]
            group_columns = {}
            for name in self.spec.columns:
                group_columns[name] = [rows[index][name] for index in indices]
            results = as_list(self.function(texts, **group_columns, **self.bound))
            if len(results) != len(indices):
                raise ValueError(f"returned {len(results)} scores for a group of {len(indices)}")
            for index, result in zip(indices, results, strict=True):
                scores[index] = as_score(result)
        return scores


class AsyncReward(BaseReward):
    """A reward with an async scorer: `await function(prompts, completions, rows)` returns Scores."""

    is_async = True

    async def scores(self, prompts: Prompts, completions: Completions, **columns: object) -> Scores:
        rows = self.rows(prompts, completions, columns)
        scores: Scores = await self.function(prompts, completions, rows)
        return scores

    async def __call__(  # type: ignore[override]
        self, prompts: Prompts, completions: Completions, **columns: object
    ) -> Values:
        return self._values(await self.scores(prompts, completions, **columns), columns)


class PlainReward(BaseReward):
    """A reward function without a decorator of this package: from TRL, or a user's.

    Args:
        function: The function, as TRL calls it.
        range: Its lowest and its highest score, None if they are not known.
    """

    def __init__(self, function: Scorer, range: Range | None = None):
        # Token ids stay among `reads`, because `score` and `check` need to know of them.
        filled = OF_TRL - {"completion_ids"}
        super().__init__(function, Spec(range=range, reads=required(function, *filled)))
        # A partial, or an object whose `__call__` is async, is no coroutine function itself.
        called = function.func if isinstance(function, partial) else function
        is_async = inspect.iscoroutinefunction
        self.is_async = is_async(called) or is_async(type(called).__call__)

    def scores(self, prompts: Prompts, completions: Completions, **columns: object) -> Any:
        return self.function(prompts=prompts, completions=completions, **columns)

    def __call__(self, *batch: object, **columns: object) -> Any:
        return self.function(*batch, **columns)


# The decorators are classes, so that each argument is written once: as a field of Spec.
class reward(Spec):
    """Make a TRL reward function of a function that scores one completion.

    The decorated function takes the completion as text, then the columns of `reads` and `may_read`
    by name, then options with defaults, which `grpo_reward_args` sets. It returns a float, a
    `Score`, or None. The text has "\\n" as line end and no outer whitespace.

    The result takes TRL's arguments: prompts and completions (strings or chat messages), and each
    dataset column by keyword. It returns one float or None per completion. In merged datasets, a
    row of another task has None in a column that it lacks. The score of such a row is None.

    Args:
        range: The lowest and the highest score. The highest means "right" in reports.
        reads: The dataset column that the scorer needs, or several. "completion_ids" are the
            completion's token ids. "prompt" is the prompt: a string or chat messages.
        may_read: Optional columns. A column is None if the dataset or the row lacks it.
            "completion_messages" is the completion as TRL passes it, with its tool calls.
        reasons: The possible reasons of a score. Each that occurs is a curve of the run.
        inline: Run the scorer in the trainer's process. Set it only if the scorer takes linear time
            and never raises. Other scorers run in a process that can be killed.
        first: A quick check with the same arguments that may run in the trainer's process. The
            decorated function is called only if this check returns None.
        ready: A function that is called before training with the options that are set. It raises
            RuntimeError, one line with the fix, if the reward cannot work on this machine.
        group_by: A column of `reads`. The run gets one curve of mean scores per value of it.
        row_problem: A function that takes the columns of `reads` by name before training. It
            returns why no completion of that row can be scored, for example because of an
            unreadable gold answer, or "".

    Raises:
        TypeError: The scorer is async, or a parameter is not a column and has no default.
        ValueError: When the result is called, the dataset lacks a column of `reads`.

    Example:
        >>> @reward(range=(0.0, 1.0), reads="answer")
        ... def ends_with_answer(completion: str, answer: str) -> float:
        ...     return float(completion.endswith(answer))
        >>> ends_with_answer(["9 * 2?"], ["It is 18"], answer=["18"])
        [1.0]
    """

    def __call__(self, scorer: Scorer) -> Reward:
        return Reward(_checked(scorer, self), self)


class group_reward(Spec):
    """Make a TRL reward function of a function that scores the completions of one prompt together.

    The decorated function takes and returns lists with one entry per completion of the group. A
    group is a series of equal prompts in a batch. If a rank's batch has incomplete groups, the run
    is refused before the model loads.

    Args:
        range: The lowest and the highest score.

    The other arguments are those of `reward` without `first`.

    Example:
        >>> @group_reward(range=(0.0, 1.0))
        ... def shortest(completions: list[str]) -> list[float]:
        ...     least = min(map(len, completions))
        ...     return [float(len(text) == least) for text in completions]
        >>> shortest(["p", "p"], ["18", "It is 18"])
        [1.0, 0.0]
    """

    def __call__(self, scorer: Scorer) -> GroupReward:
        return GroupReward(_checked(scorer, self), self)


def as_list(results: Any) -> list[Any]:
    """Return the results of a reward of several completions as a list.

    Raises:
        TypeError: They have no order, or are no results. A dict would be scored by its keys.
    """
    if isinstance(results, (str, bytes, AbstractSet, Mapping)):
        raise TypeError(
            f"returned a {type(results).__name__}, which is not a list: {results!r:.100}"
        )
    try:
        return list(results)
    except TypeError:
        raise TypeError(f"returned {results!r:.100}, which is not a list") from None


def _opened_by(prompt: object) -> str:
    """Return the mark of thinking in which a prompt ends that is text, else ""."""
    return opened_by(prompt) if isinstance(prompt, str) else ""


def as_score(result: Any) -> Score:
    """Return a scorer's result as a Score."""
    if not isinstance(result, Score):
        return Score(result, "")
    return Score(result.value, str(result.reason or ""), str(result.read or ""))


def required(function: Scorer, *others: str) -> tuple[str, ...]:
    """Return the parameters by name that have no default, without those in `others`."""
    names = []
    for name, default in parameters_of(function).items():
        if default is Parameter.empty and name not in others:
            names.append(name)
    return tuple(names)


def parameters_of(function: Scorer) -> Row:
    """Return the named parameters with their defaults, or Parameter.empty."""
    others = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    parameters = signature(function).parameters
    defaults = {}
    for name, parameter in parameters.items():
        if parameter.kind not in others:
            defaults[name] = parameter.default
    return defaults


def check_options(name: str, parameters: Mapping[str, Parameter], options: Options) -> None:
    """Check that each option is a parameter, and that its value has the type of its annotation.

    A default value is always right. So is each value of a parameter without an annotation.

    Args:
        name: The name of the function for an error.
        parameters: The parameters that an option may set.
        options: The values from a config, by the name of their parameter.

    Raises:
        TypeError: The first option that is wrong, in one line.
    """
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    for option, value in options.items():
        if option not in parameters:
            if takes_any:
                continue
            listed = ", ".join(parameters) or "none"
            raise TypeError(f"{name} has no parameter {option!r} (it has: {listed})")
        annotation = parameters[option].annotation
        if value != parameters[option].default and not _fits(value, annotation):
            kind = re.sub(
                r"\b(collections\.abc|typing)\.", "", inspect.formatannotation(annotation)
            )
            raise TypeError(f"{name}: {option}: {value!r} is not of type {kind}")


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a value has the type of an annotation; true if pydantic cannot tell."""
    if annotation is Parameter.empty or isinstance(annotation, str):
        return True
    # A reward without options need not wait for this import.
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(annotation)
    except PydanticUserError:  # a class that is no plain data
        return True
    # Strict: 'no' is not false, and true is not 1.
    try:
        adapter.validate_python(value, strict=True)
        return True
    except ValidationError:
        pass
    # YAML has lists only, but the annotation may be a tuple. JSON's rules allow a list there.
    try:
        adapter.validate_json(json.dumps(value), strict=True)
        return True
    except (ValidationError, TypeError, ValueError):
        return False


def _checked(scorer: Scorer, spec: Spec) -> Scorer:
    """Return the scorer, or raise TypeError if it is async or a parameter never gets a value."""
    if inspect.iscoroutinefunction(scorer):
        raise TypeError(
            f"{scorer.__name__} is async. Name it in trl.reward_funcs without a decorator"
        )
    for name, default in _defaults(scorer, spec).items():
        if default is Parameter.empty:
            raise TypeError(
                f"{scorer.__name__}: the parameter {name!r} is not a column of `reads` and has no "
                "default. Add it to `reads`, or give it a default"
            )
    return scorer


def _defaults(scorer: Scorer, spec: Spec) -> Row:
    """Return the scorer's options with their defaults. Its first parameter is the completion."""
    parameters = parameters_of(scorer)
    names = [*parameters][1:]
    return {name: parameters[name] for name in names if name not in spec.columns}
