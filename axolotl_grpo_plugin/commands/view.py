"""`axolotl-grpo view RUN`."""

from collections.abc import Sequence
from pathlib import Path

import click

from axolotl_grpo_plugin.output.files import write_text, writing
from axolotl_grpo_plugin.viewer.page import LOCAL, packed, page, server
from axolotl_grpo_plugin.viewer.run import RunRecord

MILLION = 1_000_000


def run(folders: Sequence[str], *, out: str, serve: bool, port: int) -> int:
    """Write the page, or serve it. Return the exit code."""
    runs = [RunRecord(Path(folder)) for folder in folders]
    title = " · ".join(run.folder.resolve().name for run in runs)
    if serve:
        _serve(title, runs, port)
    else:
        _write(title, runs, Path(out))
    return 0


def _write(title: str, runs: Sequence[RunRecord], file: Path) -> None:
    data = []
    shown = total = 0
    for run in runs:
        found = run.data()
        data.append(found)
        shown += len(found["text"])
        total += found["total"]
        for note in found["notes"]:
            click.echo(note)
    with writing(file):
        write_text(file, page(title, packed(data)))
    size = file.stat().st_size / MILLION
    rollouts = f"{shown:,} rollouts"
    if shown < total:
        rollouts += f" of {total:,}, sampled by step"
    click.echo(f"Written to {file} ({size:.1f} MB): {rollouts}. Open it in a browser.")


def _serve(title: str, runs: Sequence[RunRecord], port: int) -> None:
    try:
        serving = server(title, runs, port)
    except OSError as error:
        fix = "Name another one with --port"
        raise click.ClickException(f"--port {port}: cannot be used: {error}. {fix}.") from error
    click.echo(
        f"http://{LOCAL}:{serving.server_port} shows {title}, and follows it. End it with Ctrl+C."
    )
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        serving.server_close()
