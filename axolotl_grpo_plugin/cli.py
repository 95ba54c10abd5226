"""`axolotl grpo ...`: thin, and light to import, for `axolotl --help` imports it."""

import click


@click.group()
def grpo() -> None:
    """GRPO: configs, models and checks."""


@grpo.command()
@click.argument("what", type=click.Choice(["configs", "smollm2"]), default="configs")
@click.option("--dest", type=click.Path(file_okay=False), help="Folder to write to.")
def fetch(what: str, dest: str | None) -> None:
    """Copy the config pack here (configs), or make the small real model (smollm2)."""
    from axolotl_grpo_plugin import fetch as fetching

    {"configs": fetching.configs, "smollm2": fetching.smollm2}[what](dest)
