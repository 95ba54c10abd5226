"""Score stored answers with a config's rewards, in the guarded processes of a training."""

from collections import Counter
from collections.abc import Sequence
from itertools import batched
from typing import Any

from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.lenient import forms, reads_gold
from axolotl_grpo_plugin.findings import raised
from axolotl_grpo_plugin.generation.answers import Answer, Job, as_completion
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.scoring.worker import Outcome

_BATCH = 64  # answers, about; grpo_reward_batch_timeout limits the time of each batch


class AnswerScorer:
    """The rewards of a config. Reward models are left out, because they need a trainer.

    rewards: with their declared ranges. highest: the score that counts as right, by logged name. failures: numbers of failed scores.
    errors: the first error of each reward function that failed.
    """

    def __init__(self, cfg: Any):
        self._runner = RewardRunner(cfg)
        self.guards = {guard.name: guard for guard in self._runner.guards.values()}
        self.left_out = [ref.key for ref in reward_refs(cfg) if is_model(ref.key)]
        self.highest = self._runner.highest()
        self.rewards = self._runner.rewards(self.guards)
        self.failures: Counter[str] = Counter()
        self.errors: dict[str, str] = {}

    def scored(
        self, model: Model, jobs: Sequence[Job], answers: Sequence[Answer], group: int
    ) -> list[ScoredAnswer]:
        """Return a model's answers with their scores. group: as in `score`."""
        outcomes = self.score(jobs, answers, group)
        first = next(iter(self.guards), "")
        lenient = self._lenient(first, jobs, answers, outcomes)
        return [
            ScoredAnswer(
                model=model.label,
                step=model.step,
                mode=job.sampling.mode,
                dataset=job.question.dataset,
                row=job.question.row,
                sample=job.sample,
                tokens=answer.tokens,
                truncated=answer.truncated,
                scores={name: each.value for name, each in scores.items()} | (answer.rewards or {}),
                reasons={name: each.status for name, each in scores.items()},
                read=scores[first].read if first else "",
                lenient=verdict,
                key=job.key,
            )
            for job, answer, scores, verdict in zip(jobs, answers, outcomes, lenient, strict=True)
        ]

    def _lenient(
        self,
        name: str,
        jobs: Sequence[Job],
        answers: Sequence[Answer],
        outcomes: Sequence[dict[str, Outcome]],
    ) -> list[bool | None]:
        """Return whether each answer would be right if its last box or number were the answer."""
        guard, best = self.guards.get(name), self.highest.get(name)
        if guard is None or best is None or not reads_gold(guard.function):
            return [None] * len(jobs)
        values = [each[name].value for each in outcomes]
        found = [None if value is None else value >= best for value in values]
        tries = [
            (place, job, answer._replace(text=text, chat=None))
            for place, (job, answer) in enumerate(zip(jobs, answers, strict=True))
            if found[place] is False
            for text in forms(answer.text)
        ]
        for batch in batched(tries, _BATCH):
            places, *pairs = zip(*batch, strict=True)
            for place, outcome in zip(places, self._call(guard, *pairs), strict=True):
                found[place] |= (outcome.value or 0.0) >= best
        return found

    def score(
        self, jobs: Sequence[Job], answers: Sequence[Answer], group: int
    ) -> list[dict[str, Outcome]]:
        """Return each answer's outcomes by the reward's logged name.

        group: answers per row. They are neighbors, because some rewards score a prompt group together.
        """
        size = group * max(1, _BATCH // group)
        pairs = zip(jobs, answers, strict=True)
        return [each for batch in batched(pairs, size) for each in self._batch(batch)]

    def _batch(self, batch: Sequence[tuple[Job, Answer]]) -> list[dict[str, Outcome]]:
        jobs, answers = zip(*batch, strict=True)
        found: list[dict[str, Outcome]] = [{} for _ in batch]
        for name, guard in self.guards.items():
            for row, outcome in zip(found, self._call(guard, jobs, answers), strict=True):
                row[name] = outcome
                if outcome.error:
                    self.failures[name] += 1
                    self.errors.setdefault(name, raised(outcome.error))
        return found

    def _call(
        self, guard: GuardedReward, jobs: Sequence[Job], answers: Sequence[Answer]
    ) -> list[Outcome]:
        names = dict.fromkeys(name for job in jobs for name in job.question.columns)
        columns = {name: [job.question.columns.get(name) for job in jobs] for name in names}
        return guard.outcomes_of(
            [
                answer.prompt or job.question.prompt
                for job, answer in zip(jobs, answers, strict=True)
            ],
            [as_completion(*each) for each in zip(jobs, answers, strict=True)],
            [answer.ids for answer in answers],
            columns,
        )

    def close(self) -> None:
        """End the scoring processes."""
        self._runner.close()
