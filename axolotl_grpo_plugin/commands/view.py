"""`axolotl grpo view RUN`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.commands.score import Scored, load, score
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.viewer.page import packed, page, server
from axolotl_grpo_plugin.viewer.run import Run
from axolotl_grpo_plugin.viewer.terminal import read

MILLION = 1_000_000


def run(
    folders: Sequence[str],
    *,
    output: str,
    rewards: Sequence[str],
    arguments: Sequence[str],
    size: int,
    serve: bool,
    port: int,
    terminal: bool,
) -> int:
    """Write the page, serve it, or show the first run in the terminal. Return the exit code."""
    paths.add_working_folder()
    rescore = partial(_scores, rewards, arguments) if rewards else None
    try:
        runs = [Run(Path(folder), size * MILLION, rescore) for folder in folders]
    except FindingError as error:
        raise click.ClickException(str(error)) from error
    title = " · ".join(each.folder.resolve().name for each in runs)
    if terminal:
        read(runs[0].data())
    elif serve:
        _serve(title, runs, port)
    else:
        data = {"runs": [each.data() for each in runs]}
        file = Path(output)
        file.write_text(page(title, packed(data)), encoding="utf-8")
        shown = sum(len(each["text"]) for each in data["runs"])
        total = sum(each["total"] for each in data["runs"])
        of = "" if shown == total else f" of {total:,}, sampled by step"
        where = f"{file} ({file.stat().st_size / MILLION:.1f} MB)"
        click.echo(f"Written to {where}: {shown:,} rollouts{of}. Open it in a browser.")
        for broken in (each for run in runs for each in run.log.broken):
            click.echo(f"{broken} is not whole, so it was left out.")
    return 0


def _scores(
    rewards: Sequence[str], arguments: Sequence[str], rows: list[dict[str, Any]]
) -> dict[LoggedReward, list[Scored]]:
    """Return the scores of rows by reward."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "completion"))
    functions = load(rewards, arguments)
    return {
        LoggedReward(key, each.spec.range): score(key, each, rows, "completion", names)
        for key, each in functions.items()
    }


def _serve(title: str, runs: Sequence[Run], port: int) -> None:
    fresh = True

    def update() -> dict[str, Any] | None:
        nonlocal fresh
        if not any([each.log.update() for each in runs]) and not fresh:
            return None
        fresh = False
        return {"runs": [each.data() for each in runs]}

    try:
        serving = server(title, update, port)
    except OSError as error:
        fix = "Name another one with --port"
        raise click.ClickException(f"--port {port}: cannot be used: {error}. {fix}.") from error
    host, number = serving.server_address[:2]
    click.echo(f"http://{host}:{number} shows {title}, and follows it. End it with Ctrl+C.")
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        serving.server_close()
