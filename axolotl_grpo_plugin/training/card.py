"""Write the card of a run (README.md, which the hub shows), and add evaluations to it."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from axolotl_grpo_plugin.config import dicts
from axolotl_grpo_plugin.evaluation.report import markdown
from axolotl_grpo_plugin.hub import is_on_hub
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read, readable
from axolotl_grpo_plugin.runlog.schema import REASON, REWARD, as_text
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out import FILE, Change, read_changes
from axolotl_grpo_plugin.training.record import CARD, RUN, add_facts
from axolotl_grpo_plugin.training.report import PLOT, mean_of, rounded, short

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

{warnings}

`axolotl grpo train {run}` repeats the run. GRPO is from
[DeepSeekMath](https://huggingface.co/papers/2402.03300).
{samples}"""
_FILES = 20  # of the rollout log: its last
_SHOWN = 800  # characters of a prompt or completion
# How the answers of a result were made. Results with the same text replace each other.
_ANSWERS = {
    "greedy": "greedy, max_tokens {max_tokens}, stop {stop}",
    "sampled": "sampled, samples {samples}, temperature {temperature}, top_p {top_p}, "
    "max_tokens {max_tokens}, stop {stop}, seed {seed}",
}
_TRAINED = "trained"  # label of the run's own model in an evaluation


def write_card(trainer: Any, given: dict[str, Any], *_: Any, **__: Any) -> None:
    """Write README.md into output_dir, in place of TRL's `create_model_card`.

    given: the config as in run.yaml.
    """
    if trainer.is_world_process_zero():
        try:
            _write(trainer, given)
        except Exception:  # TRL saves the checkpoint after this
            LOG.exception("the card of this run could not be written")


def _write(trainer: Any, given: dict[str, Any]) -> None:
    folder, base = Path(trainer.args.output_dir), given["base_model"]
    history, step = trainer.state.log_history, trainer.state.global_step
    warnings = list(_warnings(trainer))
    known = {"Trained": _trained(history, step)}
    if warnings:
        known["Warnings"] = "; ".join(warnings)
    known = add_facts(folder, known)
    known.pop("Warnings", None)  # they have a list of their own
    known["Started"] = known["Started"].partition(",")[0]  # without the folder
    known["Rewards"] = ", ".join(reward.key for reward in reward_refs(given))
    changes = read_changes(folder / FILE) if (folder / FILE).exists() else []
    paths = [str(each.get("path")) for each in dicts(given.get("datasets"))]
    tests = [str(each.get("path")) for each in dicts(given.get("test_datasets"))] or paths
    name = trainer.hub_model_id or folder.name
    prompt = trainer.train_dataset[0]["prompt"]
    data = ModelCardData(
        base_model=base if is_on_hub(base) else None,
        datasets=[path for path in paths if is_on_hub(path)] or None,
        library_name="peft" if given.get("adapter") else "transformers",
        model_name=name,
        tags=["generated_from_trainer", "axolotl", "trl", given["rl"]],
        eval_results=list(_held_out(changes, ", ".join(map(_dataset, tests)))) or None,
    )
    text = _TEXT.format(
        data=data.to_yaml(),
        name=name,
        base=f"A {given['adapter']} adapter of `{base}`" if given.get("adapter") else f"`{base}`",
        datasets=" and ".join(f"`{path}`" for path in paths),
        method=given["rl"].upper(),
        steps=step,
        prompts=trainer.args.generation_batch_size // trainer.num_generations,
        completions=trainer.num_generations,
        results=_results(trainer, folder, changes),
        prompt=json.dumps(prompt, ensure_ascii=False),
        model=trainer.hub_model_id or folder,
        length=trainer.args.max_completion_length,
        run=RUN,
        facts=_table(["", ""], [[name, f"`{text}`"] for name, text in known.items()]),
        warnings="\n".join(f"- Warning: {each}" for each in warnings) or "There were no warnings.",
        samples=_samples(folder, given, trainer.reward_func_names),
    )
    ModelCard(text).save(folder / CARD)


def add_evaluation(file: Path, summary: dict[str, Any], place: str) -> bool:
    """Put the results of `axolotl grpo eval` into a card, in place of those with the same settings.

    summary: eval.json. place: the name of its folder. Return whether it has results of the run's own model.
    """
    own = [each for each in summary["results"] if each["model"] == _TRAINED and each["rewards"]]
    if not own:
        return False
    card = ModelCard.load(file)
    results = card.data.eval_results or []
    results += [_evaluated(each, summary["settings"]) for each in own]
    # The name of a metric ends with its rows and interval, in brackets.
    latest = {
        f"{result.dataset_name} {result.metric_name}".rpartition(" (")[0]: result
        for result in results
    }
    card.data.eval_results = list(latest.values())
    ends = [f"<!-- evaluation in {place}: {end} -->" for end in ("start", "end")]
    before, _, rest = card.text.partition(ends[0])
    section = f"{ends[0]}\n{markdown(summary)}{ends[1]}"
    card.text = f"{before.rstrip()}\n\n{section}\n{rest.partition(ends[1])[2].lstrip()}"
    card.save(file)
    return True


def _evaluated(result: dict[str, Any], settings: dict[str, Any]) -> EvalResult:
    name, reward = next(iter(result["rewards"].items()))
    kind = "right" if "right" in reward else "mean"
    what = f"{short(name)}: {kind}, {_ANSWERS[result['mode']].format(**settings)}"
    dataset = _dataset(result["dataset"])
    return _eval_result(dataset, what, result["rows"], *reward[kind].values())


def _held_out(changes: list[Change], dataset: str) -> Iterator[EvalResult]:
    """Yield the results of the first reward, which says what is right."""
    for each in changes:
        if each.reward == changes[0].reward and each.right_after is not None:
            what = f"{short(each.reward)}: right, {each.mode}"
            ends = (each.right_after, each.right_low, each.right_high)
            yield _eval_result(dataset, what, each.rows, *ends)


def _eval_result(
    dataset: str, what: str, rows: int, value: float, low: float | None, high: float | None
) -> EvalResult:
    interval = "" if low is None or high is None else f", 95 %: {low:.3f} to {high:.3f}"
    return EvalResult(
        task_type="text-generation",
        dataset_type=dataset,
        dataset_name=dataset,
        metric_type="accuracy" if "right" in what else "mean_reward",
        metric_name=f"{what} ({rows:,} rows{interval})",
        metric_value=round(value, 4),
    )


def _results(trainer: Any, folder: Path, changes: list[Change]) -> str:
    """Return a table of the rewards: on held-out rows if there are any, else at start and end."""
    if changes:
        rows = max(change.rows for change in changes)
        lines = [
            f"Rewards on {rows} held-out rows. Intervals are 95 % intervals: of the share of right "
            "answers, and of the change of the mean.\n"
        ]
        cells = []
        for each in changes:
            if each.reward == changes[0].reward and each.right_low is not None:
                interval = f"{each.right_low:.1%} to {each.right_high:.1%}"
                shares = [f"{each.right_before:.1%}", f"{each.right_after:.1%}", interval]
                cells.append([f"{short(each.reward)}: right", each.mode, *shares])
        for each in changes:
            gain = f"{rounded(each.low, '+')} to {rounded(each.high, '+')}"
            means = [f"{each.before:.2f}", f"{each.after:.2f}", gain]
            cells.append([short(each.reward), each.mode, *means])
        lines.append(_table(["Reward", "Answers", "Before", "After", "95 % interval"], cells))
    else:
        cells = []
        for name in trainer.reward_func_names:
            values = _values(trainer.state.log_history, mean_of(name))
            if values:
                cells.append([short(name), f"{values[0]:.2f}", f"{values[-1]:.2f}"])
        lines = ["Mean rewards in training:\n", _table(["Reward", "First", "Last"], cells)]
    if (folder / PLOT).exists():
        lines.append(f"\n![Training curve]({PLOT})")
    return "\n".join(lines)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _trained(history: list[dict[str, Any]], step: int) -> str:
    """Return the steps, tokens and, after the last step, the time of a training."""
    tokens = max(_values(history, "num_tokens"), default=0)
    seconds = _values([log for log in history if log.get("step") == step], "train_runtime")
    time = [f"{seconds[-1] / 60:,.1f} minutes"] if seconds else []
    return ", ".join([f"{step:,} steps", f"{tokens:,.0f} tokens", *time])


def _values(history: list[dict[str, Any]], key: str) -> list[float]:
    return [log[key] for log in history if log.get(key) is not None]


def _warnings(trainer: Any) -> Iterator[str]:
    """Yield the failures of rewards, and the signs that the health check has reported."""
    history = trainer.state.log_history
    for name in trainer.reward_func_names:
        for kind in ("errors", "timeouts"):
            if shares := _values(history, f"reward_{kind}/{name}"):
                times = f"in {len(shares):,} logged steps, {fmean(shares):.2%} of their scores"
                yield f"{short(name)} had {kind} {times}"
    for each in trainer.callback_handler.callbacks:
        if isinstance(each, Health):
            yield from (f"{sign}: {cause}" for sign, cause in each.reported.items())


def _samples(folder: Path, given: dict[str, Any], names: list[str]) -> str:
    """Return a section of five rollouts of the last steps, "" if the run logs none."""
    elsewhere = given.get("grpo_rollouts")
    folder = Path(elsewhere) if isinstance(elsewhere, str) else folder
    files = rollout_files(folder)
    rows = [row for file in files.counted[-_FILES:] for row in read(file)]
    rows = sorted((row for row in rows if row["reward"] is not None), key=lambda row: row["reward"])
    if len(rows) < 5:
        return ""
    chosen = [("Best", rows.pop()), ("Worst", rows.pop(0)), ("Median", rows.pop(len(rows) // 2))]
    chosen += [("Random", row) for row in Random(0).sample(rows, 2)]
    parts = [
        f"\n## Samples\n\nFive of {len(rows) + 3:,} rollouts of the last steps.\n",
        files.note(),
    ]
    parts += [f"{what}:\n\n{_fenced(_sample(row, names))}\n" for what, row in chosen]
    return "\n".join(parts)


def _sample(row: dict[str, Any], names: list[str]) -> str:
    """Return a rollout with its scores and reasons, shortened."""
    lines = [f"reward {row['reward']:.2f}, advantage {row['advantage']:+.2f}, step {row['step']}"]
    for name in names:
        score, reason = row.get(REWARD + name), row.get(REASON + name) or ""
        number = "none" if score is None else f"{score:.2f}"
        lines.append(f"{short(name)} {number} {reason}".rstrip())
    for what in ("prompt", "completion"):
        text = as_text(row[what]) or ""
        text = text if len(text) <= _SHOWN else f"{text[:200]} [...] {text[-_SHOWN + 200 :]}"
        lines += ["", f"--- {what} ---", readable(text, len(text))]
    return "\n".join(lines)


def _fenced(text: str) -> str:
    """Return a text as a Markdown block, whose fence is longer than any in the text."""
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
    return f"{fence}text\n{text}\n{fence}"


def _dataset(path: str) -> str:
    """Return a name for the hub: a local path would say nothing there."""
    return path if is_on_hub(path) else Path(path).name
