"""`axolotl grpo ...`: thin, and light to import, for `axolotl --help` imports it."""

import click


@click.group()
def grpo() -> None:
    """GRPO: configs, models, problems and checks."""


@grpo.command()
@click.argument("what", type=click.Choice(["configs", "smollm2", "countdown"]), default="configs")
@click.option("--dest", type=click.Path(file_okay=False), help="Folder to write to.")
def fetch(what: str, dest: str | None) -> None:
    """Copy the config pack here (configs), make the small real model (smollm2), or problems (countdown)."""
    from axolotl_grpo_plugin import fetch as fetching

    {
        "configs": fetching.configs,
        "smollm2": fetching.smollm2,
        "countdown": fetching.countdown,
    }[what](dest)
