"""The rewards of a training: their metrics, and the end of a run in which too many scores fail."""

import logging
from collections import Counter, deque
from typing import NamedTuple

from accelerate.utils import gather_object

from axolotl_grpo_plugin.completions import Completion, text_of
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, FindingError, fault
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.reward import NOT_THIS_TASK, Completions, Scorer
from axolotl_grpo_plugin.runlog.rewards import MOST_FREQUENT
from axolotl_grpo_plugin.scoring.batch import ScoredBatch
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW
from axolotl_grpo_plugin.scoring.guards import Guards, ScoringSettings
from axolotl_grpo_plugin.scoring.worker import Outcomes, OutcomesOf

LOG = logging.getLogger(__name__)

_WINDOW = 20  # steps over which grpo_reward_error_limit counts failures
_ALL_SLOW = 4  # the smallest batch that stops a run if all its completions are too slow
_FEWEST = 4  # prompts; among fewer, equal answers are no sign
_MOST_LOGGED = 3  # failed scores to log per reward

# A metric, and the outcomes of which it is the share or the mean: those of a reward or a series, or all
# that have this metric.
Key = tuple[str, str]
TOTAL = "total"  # in the place of a metric: the number of those outcomes


class Counts(NamedTuple):
    """A reward's numbers of scores in one step, over all ranks. Rows of other tasks do not count."""

    failed: int
    scored: int
    too_slow: int


CountsOf = dict[str, Counts]  # of rewards, by logged name


class RewardRunner(Guards):
    """The guarded reward functions of a training.

    Metrics show the shares of failures and of reasons. If a reward fails too often, all ranks stop together.
    """

    def __init__(self, cfg: Config):
        super().__init__(reward_refs(cfg), ScoringSettings.of(cfg), cfg)
        self._recent: deque[tuple[int, CountsOf]] = deque()
        self._shown: Counter[str] = Counter()
        self._logged: set[Key] = set()

    def reward_func(self, key: str) -> Scorer | str:
        """Return the guarded function for an entry of `trl.reward_funcs`, or a reward model's name."""
        return self.guards[key].for_trl() if key in self.guards else key

    def take_outcomes(self) -> OutcomesOf:
        """Return the outcomes of the last batch by the reward's logged name, and forget them."""
        return {name: guard.take_outcomes() for name, guard in self.by_name.items()}

    def report(self, batch: ScoredBatch) -> dict[str, float]:
        """Log the first failed scores of a batch.

        Returns:
            The metrics of the batch over all ranks.

        Raises:
            FindingError: Too many scores of a reward failed. All ranks raise it together.
        """
        self._show(batch)
        metrics, counts = self._metrics_of(batch)
        self._stop_if_too_many(batch, counts)
        return metrics

    def _metrics_of(self, batch: ScoredBatch) -> tuple[dict[str, float], CountsOf]:
        """Return the metrics of each reward over all ranks, and its counts."""
        numbers, answers = Counter[Key](), Counter[str]()
        for of_rank, answers_of_rank in gather_object(
            [(self._count(batch.outcomes), _answers(batch.outcomes))]
        ):
            numbers.update(of_rank)
            answers.update(answers_of_rank)
        metrics = {}
        if batch.groups >= _FEWEST and any(answers):
            total = answers.total()
            del answers[""]
            metrics[MOST_FREQUENT] = max(answers.values()) / total
        for metric, base in numbers:
            if metric not in (TOTAL, TOO_SLOW):
                self._logged.add((metric, base))
        # A share that some step had is logged from then on, also as 0.
        for metric, base in self._logged:
            if total := numbers[TOTAL, base]:
                metrics[metric] = numbers[metric, base] / total
        counts = {}
        for name in batch.outcomes:
            errors = numbers[f"reward_errors/{name}", name]
            timeouts = numbers[f"reward_timeouts/{name}", name]
            counts[name] = Counts(errors + timeouts, numbers[TOTAL, name], numbers[TOO_SLOW, name])
        return metrics, counts

    def _count(self, outcomes: OutcomesOf) -> Counter[Key]:
        """Return the numbers of this rank's outcomes.

        The outcomes of a series (`group_by`) have curves of their own, "reward/series".
        """
        numbers = Counter[Key]()

        def count(metric: str, base: str) -> None:
            numbers[metric, base] += 1

        def average(metric: str, value: float | None) -> None:
            if value is not None:
                count(TOTAL, metric)
                numbers[metric, metric] += value  # type: ignore[assignment]  # a sum of scores

        for reward in self.rewards(outcomes):
            name = reward.name
            guard = self.by_name[name]
            for outcome in outcomes[name]:
                if outcome.reason == NOT_THIS_TASK.reason:
                    continue
                count(TOTAL, name)
                if outcome.reason == TOO_SLOW:
                    count(TOO_SLOW, name)
                if outcome.timed_out:
                    count(f"reward_timeouts/{name}", name)
                elif outcome.error:
                    count(f"reward_errors/{name}", name)
                average(f"reward_right/{name}", reward.right(outcome.value))
                if outcome.series:
                    series = f"{name}/{outcome.series}"
                    count(TOTAL, series)
                    count(f"reward_reasons/{series}/{outcome.status or 'none'}", series)
                    average(f"rewards/{series}", outcome.value)
                elif outcome.reason in guard.reasons:
                    count(f"reward_reasons/{name}/{outcome.reason}", name)
        return numbers

    def _stop_if_too_many(self, batch: ScoredBatch, counts: CountsOf) -> None:
        """Raise FindingError if too many scores of a batch or of the last steps failed, or all were slow."""
        step = batch.step - batch.training  # the last finished one
        limit = self.settings.error_limit
        if limit >= 1:
            return  # the config asks to go on

        self._recent.append((step, counts))
        span = step - self._recent[0][0] + 1
        for name, (failed, scored, too_slow) in counts.items():
            failure = None
            if too_slow == scored >= _ALL_SLOW:
                what = (
                    f"the reward {self.by_name[name].reward.key} took more than "
                    f"{self.settings.timeout:g} s of CPU time for each of {scored} completions"
                )
                fix = "Make it faster, or raise grpo_reward_timeout"
                failure = fault("slow-reward", "", what, fix)

            recent_failed = sum(recent[name].failed for _, recent in self._recent)
            recent_scored = sum(recent[name].scored for _, recent in self._recent)
            share = ""
            # One failed score may be the half of a small batch.
            if failed > 1 and failed >= max(0.5, limit) * scored:
                share = f"{failed} of {scored} scores of one batch"
            elif span >= _WINDOW and recent_failed > limit * recent_scored:
                share = f"{recent_failed} of {recent_scored} scores of the last {span} steps"

            if share and not failure:
                failure = self._failure(name, share, step, batch.outcomes[name], batch.prompts)
            if failure:
                raise FindingError(failure)

        while self._recent[0][0] <= step - _WINDOW + 1:
            self._recent.popleft()

    def _failure(
        self, name: str, share: str, step: int, outcomes: Outcomes, prompts: Completions
    ) -> Finding:
        example = "They failed on another rank; see its output."
        trace = ""
        fix = "Fix the function."
        guard = self.by_name[name]
        # The first error is the last one here.
        for outcome, prompt in zip(outcomes[::-1], prompts[::-1], strict=False):
            if outcome.error:
                example = (
                    f"The first error, for the prompt that ends in {_end(prompt)!r}: "
                    f"{outcome.error.strip().splitlines()[-1]}"
                )
                trace = outcome.error
            if outcome.timed_out:
                fix = f"Raise {guard.timeout_key}, or make the reward faster."
        what = f"the reward {guard.reward.key} failed in {share} (step {step}). {example}"
        fix += (
            f" grpo_reward_error_limit (now {self.settings.error_limit:g}) is the share of scores "
            "that may fail; 1.0 never stops the run"
        )
        return Finding("", what, fix, trace, code="failing-reward")

    def _show(self, batch: ScoredBatch) -> None:
        """Log the first failed scores of each reward."""
        for name, outcomes in batch.outcomes.items():
            scored = zip(outcomes, batch.prompts, batch.completions, strict=False)
            for outcome, prompt, completion in scored:
                if outcome.error and self._shown[name] < _MOST_LOGGED:
                    self._shown[name] += 1
                    LOG.warning(
                        "The reward %s failed (example %d of at most %d). Prompt: %r, completion: %r\n%s",
                        self.by_name[name].reward.key,
                        self._shown[name],
                        _MOST_LOGGED,
                        _end(prompt),
                        text_of(completion)[:500],
                        outcome.error,
                    )


def _answers(outcomes: OutcomesOf) -> Counter[str]:
    """Count the answers that the first reward read. "" counts completions without one."""
    return Counter(outcome.read for outcome in next(iter(outcomes.values()), []))


def _end(prompt: Completion) -> str:
    text = str(prompt[-1].get("content")) if isinstance(prompt, list) else str(prompt)
    return text[-100:]
