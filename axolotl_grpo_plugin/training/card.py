"""Write the card of a run (README.md, which the hub shows), and add evaluations to it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.hub import is_on_hub
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.output.files import written
from axolotl_grpo_plugin.report.tables import (
    Plain,
    ends_of,
    first_of,
    markdown,
    markdown_table,
    markdown_tables,
)
from axolotl_grpo_plugin.runlog.rewards import short
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out import compared
from axolotl_grpo_plugin.training.packed_step.metrics import COMPUTED, COMPUTED_BY_TRL
from axolotl_grpo_plugin.training.record import CARD, HELD_OUT, PLOT, RUN, add_facts
from axolotl_grpo_plugin.training.report import mean_of

LOG = logging.getLogger(__name__)

_TEXT = """---
{data}
---

# {name}

{base}, trained on {datasets} by {method}, with
[Axolotl](https://github.com/axolotl-ai-cloud/axolotl) and axolotl-grpo-plugin: {steps} steps of
{prompts} prompts x {completions} completions.

{results}

## Use

```python
from transformers import pipeline

prompt = {prompt}
generator = pipeline("text-generation", model="{model}")
print(generator(prompt, max_new_tokens={length}, return_full_text=False)[0]["generated_text"])
```

## Training

{facts}

`axolotl-grpo train {run}` repeats the run. GRPO is from
[DeepSeekMath](https://huggingface.co/papers/2402.03300).
"""
# How the answers of a result were made. Results with the same text replace each other.
_ANSWERS = {
    "greedy": "greedy, max_tokens {max_tokens}, stop {stop}",
    "sampled": "sampled, samples {samples}, temperature {temperature}, top_p {top_p}, "
    "max_tokens {max_tokens}, stop {stop}, seed {seed}",
}
_TRAINED = "trained"  # label of the run's own model in an evaluation

Logs = list[dict[str, Any]]  # transformers' log_history


def write_card(trainer: GRPOTrainer, given: Config) -> None:
    """Write README.md into output_dir, in place of TRL's `create_model_card`.

    Args:
        trainer: Of the run.
        given: The config as in run.yaml.
    """
    if trainer.is_world_process_zero():
        try:
            _write(trainer, given)
        except Exception:  # TRL saves the checkpoint after this
            LOG.exception("the card of this run could not be written")


def _write(trainer: GRPOTrainer, given: Config) -> None:
    folder = Path(trainer.args.output_dir)
    step = trainer.state.global_step
    new = {"Trained": _trained(trainer.state.log_history, step)}
    if warnings := [*_warnings(trainer)]:
        new["Warnings"] = f"{len(warnings)}: {'; '.join(warnings)}"
    known = add_facts(folder, new)
    known["Started"] = known["Started"].partition(",")[0]  # without the folder
    known["Rewards"] = ", ".join(reward.key for reward in reward_refs(given))
    held_out = compared(folder / HELD_OUT)
    base = f"`{given.base_model}`"
    if given.adapter:
        base = f"A {given.adapter} adapter of {base}"
    datasets = "` and `".join(_paths(given.datasets))
    rows = [[name, f"`{fact}`"] for name, fact in known.items()]
    text = _TEXT.format(
        data=_metadata(trainer, given, held_out).to_yaml(),
        name=trainer.hub_model_id or folder.name,
        base=base,
        datasets=f"`{datasets}`",
        method=(given.rl or "").upper(),
        steps=step,
        prompts=trainer.args.generation_batch_size // trainer.num_generations,
        completions=trainer.num_generations,
        results=_results(trainer, folder, held_out),
        prompt=json.dumps(trainer.train_dataset[0]["prompt"], ensure_ascii=False),
        model=trainer.hub_model_id or folder,
        length=trainer.args.max_completion_length,
        run=RUN,
        facts=markdown_table(["", ""], rows),
    )
    with written(folder / CARD) as part:
        ModelCard(text).save(part)


def _metadata(trainer: GRPOTrainer, given: Config, held_out: list[Plain]) -> ModelCardData:
    """Return the metadata for the hub, with the first reward's results on held-out rows."""
    base = given.base_model or ""
    paths = _paths(given.datasets)
    tests = ", ".join(map(_dataset, _paths(given.test_datasets) or paths))
    results = []
    for part in held_out:
        result = part["results"][-1]
        if first_of(result)[1] == "right":
            results.append(_eval_result(result, tests, part["mode"]))
    return ModelCardData(
        base_model=base if is_on_hub(base) else None,
        datasets=list(filter(is_on_hub, paths)) or None,
        library_name="peft" if given.adapter else "transformers",
        model_name=trainer.hub_model_id or Path(trainer.args.output_dir).name,
        pipeline_tag="text-generation",
        tags=["generated_from_trainer", "axolotl", "axolotl-grpo-plugin", "trl", given.rl or ""],
        eval_results=results or None,
    )


def _paths(datasets: list[dict[str, Any]]) -> list[str]:
    return [str(entry.get("path")) for entry in datasets]


def add_evaluation(file: Path, summary: Plain, place: str) -> bool:
    """Put the results of `axolotl-grpo eval` into a card, in place of those with the same settings.

    Args:
        file: The card.
        summary: The content of eval.json.
        place: The name of the folder of eval.json.

    Returns:
        Whether it has results of the run's model.
    """
    own = []
    for part in summary["parts"]:
        answers = _ANSWERS[part["mode"]].format(**summary["settings"])
        for result in part["results"]:
            if result["model"] == _TRAINED and result["rewards"]:
                own.append(_eval_result(result, _dataset(part["dataset"]), answers))
    if not own:
        return False
    card = ModelCard.load(file)
    latest = {}
    for result in [*(card.data.eval_results or []), *own]:
        # The name of a metric ends with its rows and interval, in brackets.
        metric = result.metric_name.rpartition(" (")[0]
        latest[result.dataset_name, metric] = result
    card.data.eval_results = list(latest.values())
    start = f"<!-- evaluation in {place}: start -->"
    end = f"<!-- evaluation in {place}: end -->"
    before, _, rest = card.text.partition(start)
    _, _, after = rest.partition(end)
    card.text = f"{before.rstrip()}\n\n{start}\n{markdown(summary)}{end}\n{after.lstrip()}"
    with written(file) as part:
        card.save(part)
    return True


def _eval_result(result: Plain, dataset: str, answers: str) -> EvalResult:
    """Return the first reward's share of right answers, or its mean, for the hub. `answers` names their sampling."""
    reward, kind, interval = first_of(result)
    notes = [f"{result['rows']:,} rows"]
    if ends := ends_of(interval, ".3f"):
        notes.append(f"95 %: {ends}")
    return EvalResult(
        task_type="text-generation",
        dataset_type=dataset,
        dataset_name=dataset,
        metric_type="accuracy" if kind == "right" else "mean_reward",
        metric_name=f"{short(reward)}: {kind}, {answers} ({', '.join(notes)})",
        metric_value=round(interval["mean"], 4),
    )


def _results(trainer: GRPOTrainer, folder: Path, held_out: list[Plain]) -> str:
    """Return tables of the held-out rows, or without them the rewards at start and end."""
    text = "\n\n".join(markdown_tables(held_out))
    if not held_out:
        cells = []
        for name in trainer.reward_func_names:
            if values := _values(trainer.state.log_history, mean_of(name)):
                ends = [f"{value:.2f}" for value in (values[0], values[-1])]
                cells.append([short(name), *ends])
        table = markdown_table(["Reward", "First", "Last"], cells)
        text = f"Mean rewards in training:\n\n{table}"
    if (folder / PLOT).exists():
        text += f"\n\n![Training curve]({PLOT})"
    return text


def _trained(history: Logs, step: int) -> str:
    """Return the steps, tokens and, after the last step, the time of a training."""
    tokens = max(_values(history, "num_tokens"), default=0)
    parts = [f"{step:,} steps", f"{tokens:,.0f} tokens"]
    # A resumed run has the time of the earlier one, too.
    now = [log for log in history if log.get("step") == step]
    seconds = _values(now, "train_runtime")
    if seconds:
        parts.append(f"{seconds[-1] / 60:,.1f} minutes")
    by_trl = sum(_values(history, COMPUTED_BY_TRL))
    if by_trl:
        share = sum(_values(history, COMPUTED)) / by_trl
        parts.append(f"computed {share:.0%} of TRL's tokens")
    return ", ".join(parts)


def _values(history: Logs, key: str) -> list[float]:
    return [log[key] for log in history if log.get(key) is not None]


def _warnings(trainer: GRPOTrainer) -> Iterator[str]:
    """Yield the failures of rewards, and the signs that the health check has reported."""
    for name in trainer.reward_func_names:
        for kind in ("errors", "timeouts"):
            shares = _values(trainer.state.log_history, f"reward_{kind}/{name}")
            if shares:
                yield (
                    f"{short(name)} had {kind} in {len(shares):,} logged steps, "
                    f"{fmean(shares):.2%} of their scores"
                )
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, Health):
            for sign, cause in callback.reported.items():
                yield f"{sign}: {cause}"


def _dataset(path: str) -> str:
    """Return a name for the hub: a local path would say nothing there."""
    return path if is_on_hub(path) else Path(path).name
