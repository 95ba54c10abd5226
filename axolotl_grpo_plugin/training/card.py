"""Write the model card (README.md) of a trained model."""

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from axolotl_grpo_plugin.config import dicts
from axolotl_grpo_plugin.training.held_out import FILE, read_changes
from axolotl_grpo_plugin.training.record import RUN, versions
from axolotl_grpo_plugin.training.report import PLOT, mean_of, short

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

`{run}` has the config, the command and the versions: {versions}.

GRPO is from [DeepSeekMath](https://huggingface.co/papers/2402.03300).
"""


def write_card(
    trainer: Any, given: dict[str, Any], highest: dict[str, float], *_: Any, **__: Any
) -> None:
    """Write README.md into output_dir, in place of TRL's `create_model_card`.

    given: the config as in run.yaml. highest: the score that counts as right, by reward function.
    """
    if not trainer.is_world_process_zero():
        return
    folder, base = Path(trainer.args.output_dir), given["base_model"]
    paths = [str(each.get("path")) for each in dicts(given.get("datasets"))]
    name = trainer.hub_model_id or folder.name
    prompt = trainer.train_dataset[0]["prompt"]
    data = ModelCardData(
        base_model=base if _on_hub(base) else None,
        datasets=[path for path in paths if _on_hub(path)] or None,
        library_name="peft" if given.get("adapter") else "transformers",
        model_name=name,
        tags=["generated_from_trainer", "axolotl", "trl", given["rl"]],
    )
    text = _TEXT.format(
        data=data.to_yaml(),
        name=name,
        base=f"A {given['adapter']} adapter of `{base}`" if given.get("adapter") else f"`{base}`",
        datasets=" and ".join(f"`{path}`" for path in paths),
        method=given["rl"].upper(),
        steps=trainer.state.global_step,
        prompts=trainer.args.generation_batch_size // trainer.num_generations,
        completions=trainer.num_generations,
        results=_results(trainer, folder, highest),
        prompt=json.dumps(prompt, ensure_ascii=False),
        model=trainer.hub_model_id or folder,
        length=trainer.args.max_completion_length,
        run=RUN,
        versions=", ".join(f"{package} {number}" for package, number in versions().items()),
    )
    ModelCard(text).save(folder / "README.md")


def _results(trainer: Any, folder: Path, highest: dict[str, float]) -> str:
    """Return a table of the rewards: on held-out rows if there are any, else at start and end."""
    answers = folder / FILE
    changes = read_changes(answers, highest) if answers.exists() else []
    if changes:
        lines = [
            f"Mean rewards on {max(change.rows for change in changes)} held-out rows, with the 95 % "
            "interval of the change:\n",
            "| Reward | Answers | Before | After | Change |\n| --- | --- | --- | --- | --- |",
        ]
        for change in changes:
            margin = (change.high - change.low) / 2
            gain = f"{change.after - change.before:+.2f} ± {margin:.2f}"
            numbers = f"{change.before:.2f} | {change.after:.2f} | {gain}"
            lines.append(f"| {short(change.reward)} | {change.mode} | {numbers} |")
    else:
        lines = ["Mean rewards in training:\n", "| Reward | First | Last |\n| --- | --- | --- |"]
        for name in trainer.reward_func_names:
            logs = trainer.state.log_history
            values = [log[mean_of(name)] for log in logs if log.get(mean_of(name)) is not None]
            if values:
                lines.append(f"| {short(name)} | {values[0]:.2f} | {values[-1]:.2f} |")
    if (folder / PLOT).exists():
        lines.append(f"\n![Training curve]({PLOT})")
    return "\n".join(lines)


def _on_hub(name: str) -> bool:
    """Return whether a path looks like a name on the hub, and is no local file or folder."""
    return bool(re.fullmatch(r"\w[\w.-]*/[\w.-]+", name)) and not Path(name).exists()
