"""A trainer that scores by guarded reward functions."""

import logging
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from trl import GRPOTrainer

from axolotl_grpo_plugin.findings import exit_on_findings
from axolotl_grpo_plugin.reward import OPENS, Completions, Rows, Scorer
from axolotl_grpo_plugin.scoring.batch import ScoredBatch, Tokens, fill_missing_scores
from axolotl_grpo_plugin.scoring.output import capped_output
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.thinking import closing_of

LOG = logging.getLogger(__name__)


class GuardedScores(GRPOTrainer):
    """TRL's trainer that replaces failed scores, and keeps each batch that it scores.

    Attributes:
        reward_runner: The rewards of the run. Their guarded functions are the trainer's reward functions.
        scored: The batches that were scored since the last `take_scored`. A generation has several if it is scored
            in parts, or if dynamic sampling repeats it.
    """

    reward_runner: RewardRunner

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        self.scored: list[ScoredBatch] = []
        self._tool_masks: Tokens | None = None  # of the last generation
        super().__init__(*arguments, **options)
        for name, function in zip(self.reward_func_names, self.reward_funcs, strict=True):
            if isinstance(function, nn.Module):
                guard_model(function, name)

    def take_scored(self) -> list[ScoredBatch]:
        """Return the batches that were scored since the last call."""
        scored, self.scored = self.scored, []
        return scored

    def _generate(self, prompts: list[Any]) -> Any:
        """Generate completions, and keep the masks of the tools' tokens."""
        output = super()._generate(prompts)
        self._tool_masks = output[2] if self.tools else None
        return output

    @exit_on_findings()
    def _calculate_rewards(
        self,
        inputs: Rows,
        prompts: Completions,
        completions: Completions,
        completion_ids_list: Tokens,
    ) -> torch.Tensor:
        """Return the scores of all ranks without gaps, shaped (completions, functions). Log their metrics.

        Raises:
            SystemExit: Too many scores of a reward failed.
        """
        opens = self._opens(prompts, completion_ids_list)
        scored = inputs
        if any(opens):
            scored = [{**row, OPENS: mark} for row, mark in zip(inputs, opens, strict=True)]
        with capped_output():
            scores = super()._calculate_rewards(scored, prompts, completions, completion_ids_list)
        training = self.model.training
        group = self.num_generations if training else self.num_generations_eval
        # As TRL does: repairs/end_tokens.py lets the first equal all end tokens.
        ends = [self._tokenizer.eos_token_id, self._tokenizer.pad_token_id]
        batch = ScoredBatch(
            rows=inputs,
            prompts=prompts,
            completions=completions,
            ids=completion_ids_list,
            truncated=[not len(ids) or int(ids[-1]) not in ends for ids in completion_ids_list],
            outcomes=self.reward_runner.take_outcomes(),
            names=self.reward_func_names,
            weights=self.reward_weights.to(scores.device),
            scores=fill_missing_scores(scores, group),
            group=group,
            rank=self.accelerator.process_index,
            step=self.state.global_step + training,
            training=training,
            tool_masks=self._tool_masks,
            opens=opens,
        )
        self.scored.append(batch)
        # TRL's own `log_metric` is too late here: Axolotl's async trainer never writes its values.
        metrics = self._metrics["train" if training else "eval"]
        for name, value in self.reward_runner.report(batch).items():
            metrics[name].append(value)
        return batch.scores

    def _opens(self, prompts: Completions, ids: Tokens) -> list[str]:
        """Return the mark of thinking that each prompt opens, "" if TRL has read the thinking already.

        With tools, TRL leaves neither mark in a completion whose thinking is empty.
        """
        marks = self.reward_runner.ends(prompts)
        if self.tools:
            for index, mark in enumerate(marks):
                if mark and closing_of(mark) in self._tokenizer.decode(ids[index]):
                    marks[index] = ""
        return marks


def guard_model(model: nn.Module, name: str) -> None:
    """Let a reward model give NaN scores if it raises an error. If it hangs, the run ends."""
    forward: Scorer = model.forward

    def guarded(*arguments: Any, **inputs: Any) -> Any:
        try:
            return forward(*arguments, **inputs)
        except torch.cuda.OutOfMemoryError:  # a RuntimeError too, but not because of a text
            raise
        except (ValueError, IndexError, RuntimeError):
            LOG.warning("The reward model %s failed on a batch.", name, exc_info=True)
            count = len(inputs["input_ids"])
            return SimpleNamespace(logits=torch.full((count, 1), torch.nan))

    model.forward = guarded
