"""`axolotl-grpo convert`: write an Axolotl config that does what another project's recipe does."""

from pathlib import Path
from typing import Any

import click
import yaml

from axolotl_grpo_plugin.config import read_yaml
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.paths import check_empty
from axolotl_grpo_plugin.recipes.convert import Conversion

HEAD = """# Written by `axolotl-grpo convert {recipe}`. docs/coming-from.md explains the differences.
# Run:    axolotl-grpo train {file}
"""


def run(recipe: str, *, out: str | None) -> int:
    """Write the config, print the fate of each key, and check the config.

    Args:
        recipe: The file of the recipe.
        out: The folder to write to. By default it has the recipe's name.

    Returns:
        The exit code of `axolotl-grpo check` for the config.

    Raises:
        FindingError: The file is no recipe, or the folder is not empty.
    """
    if Path(recipe).suffix == ".py":
        stop(
            "python-file",
            recipe,
            "this is a Python script, and only YAML recipes can be converted",
            "Change one import of it instead: docs/coming-from.md, TRL",
        )
    folder = Path(out or Path(recipe).stem)
    check_empty(folder)
    conversion = Conversion(read_yaml(recipe), Path(recipe).stem)
    file = folder / "grpo.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD.format(recipe=recipe, file=file) + _dump(conversion.config))
    width = max(len(line.key) for line in conversion.lines)
    for line in conversion.lines:
        click.echo(f"{line.key:<{width}}  {line.fate}")
    click.echo(f"wrote {file}: {len(conversion.left_out)} keys without a counterpart\n")

    from axolotl_grpo_plugin.commands import check

    gpus = conversion.processes
    if gpus and conversion.config["trl"].get("vllm_mode") == "server":
        gpus += 1  # vLLM's
    return check.run(
        [str(file)],
        gpus=gpus,
        gpu_memory=None,
        num_processes=conversion.processes,
        strict=False,
        as_json=False,
    )


def _dump(config: dict[str, Any]) -> str:
    """Return YAML with a blank line before each block, as in the shipped configs."""
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    for key in ("plugins", "rl", "vllm", "datasets", "skip_prepare_dataset", "output_dir"):
        text = text.replace(f"\n{key}:", f"\n\n{key}:", 1)
    return text
