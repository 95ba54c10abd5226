"""Record a run in its output folder: run.yaml repeats it, and run.json has facts about it."""

import json
import os
import re
import shlex
import sys
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.output.files import write_text
from axolotl_grpo_plugin.processes import is_first_rank
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.schema import SCORES
from axolotl_grpo_plugin.serving.request import ADDED, COMMAND
from axolotl_grpo_plugin.training.secrets import LEFT_OUT, without_secrets, words_without_secrets

if TYPE_CHECKING:
    from trl import GRPOTrainer

# The files of a run.
RUN = "run.yaml"
FACTS = "run.json"
CARD = "README.md"
PLOT = "training.png"
HELD_OUT = f"held_out/{SCORES}"
BEST = "Best held-out answers"  # the fact of a run with grpo_keep_best
STOPPED = "Stopped"  # the fact of a run that grpo_stop_at has ended
ENDED = "Ended"  # the fact of a run that was trained to its end, and has saved its model
_PACKAGES = ("axolotl-grpo-plugin", "axolotl", "trl", "transformers", "torch", "vllm")
_ADDED = ("axolotl_config_path", "debug", "debug_num_examples", "debug_text_only", "shard")
# Axolotl's command line adds the others.
_LEFT_OUT = (*_ADDED, "comet_api_key")


def write_run(given: Config, folder: Path, more: dict[str, str] | None = None) -> None:
    """Write run.yaml, the config after command-line options without secrets, and run.json, facts about the run.

    `axolotl-grpo train` can read run.yaml.

    Args:
        given: The config before Axolotl adds its defaults.
        folder: The output folder of the run.
        more: More facts by their name.
    """
    config = {key: value for key, value in given.raw.items() if key not in _LEFT_OUT}
    plain = json.loads(json.dumps(config, default=str))  # under Ray it has enums
    for key in os.environ.get(ADDED, "").split():  # the next run may have other nodes, for example
        outer, _, inner = key.rpartition(".")
        (plain[outer] if outer else plain).pop(inner, None)
    public, secrets = without_secrets(plain)
    text = yaml.safe_dump(public, sort_keys=False, allow_unicode=True)
    head = LEFT_OUT.format(keys=", ".join(secrets)) if secrets else ""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RUN, head + text)
    (folder / FACTS).unlink(missing_ok=True)  # of an earlier run
    digest = sha256(text.encode()).hexdigest()
    packages = [f"{name} {number}" for name, number in versions().items()]
    add_facts(
        folder,
        {
            "Command": _command(),
            "Started": f"{now()}, in {os.getcwd()}",
            "Versions": ", ".join(packages),
            "Config": f"sha256 {digest[:16]}",
            **(more or {}),
        },
    )


def add_facts(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """Add facts to run.json, or replace them. Return all."""
    known = facts(folder)
    known |= {name: " ".join(text.split()) for name, text in more.items()}
    write_text(folder / FACTS, json.dumps(known, indent=2))
    return known


def facts(folder: Path) -> dict[str, str]:
    """Return the facts about a run by their name, {} without a run.json that can be read."""
    try:
        return dict(json.loads((folder / FACTS).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def facts_of(trainer: "GRPOTrainer") -> dict[str, str]:
    """Return a run's hardware, and its rows with a hash that does not depend on their order."""
    import torch

    hardware = f"CPU, cores: {len(os.sched_getaffinity(0))}"
    if torch.cuda.is_available():
        ranks = trainer.accelerator.num_processes
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        hardware = f"{ranks} x {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    digests = []
    for batch in trainer.train_dataset.with_format("arrow").iter(1000):
        for row in batch.to_pylist():
            text = json.dumps(row, sort_keys=True, default=str)
            digests.append(sha256(text.encode()).digest())
    digest = sha256(b"".join(sorted(digests))).hexdigest()
    return {"Hardware": hardware, "Data": f"{len(digests):,} rows, sha256 {digest[:16]}"}


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that matter for a run."""
    installed = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # vllm is optional
            installed[name] = version(name)
    return installed


def _command() -> str:
    """Return the command that repeats the run, as the user typed it. `axolotl-grpo train` takes every config."""
    if typed := os.environ.get(COMMAND):
        return shlex.join(words_without_secrets(shlex.split(typed)))
    return f"axolotl-grpo train {shlex.join(words_without_secrets(_words()))}"


def now() -> str:
    """Return the time for a fact."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _words() -> list[str]:
    """Return the words after `axolotl train`, without options that Axolotl adds."""
    words = sys.argv[1:]
    if words[:1] == ["train"]:
        words = words[1:]
    given = []
    for word in words:
        option = word.partition("=")[0]
        if option.removeprefix("--").replace("-", "_") not in _ADDED:
            # Axolotl's launchers write --trl--beta for the typed --trl.beta.
            given.append(re.sub(r"^(--[^=]*?)--", r"\1.", word))
    return given


def show_end(cfg: Config, loss: str = "") -> None:
    """Print where the results of a finished run are, and the commands that come next.

    Args:
        cfg: The config.
        loss: How many batches of rollouts are lost, and why; "" if none is.
    """
    from axolotl_grpo_plugin.training.banner import show

    if is_first_rank():
        show(results(cfg, loss))


def results(cfg: Config, loss: str = "") -> dict[str, str]:
    """Return the results of a run in its output folder, and the commands for them, by a short name."""
    folder = output_dir(cfg)
    lines = {"model": str(folder)}
    if cfg.adapter:
        lines["model"] += f" (adapter for {cfg.base_model})"
    if (folder / CARD).exists():
        lines["card"] = str(folder / CARD)
    known = facts(folder)
    for name, fact in (("stopped", STOPPED), ("best", BEST)):
        if fact in known:
            lines[name] = known[fact]
    warnings = known.get("Warnings")
    if warnings:
        lines["warnings"] = f"{warnings.split(':')[0]}, in {folder / CARD}"
    log = cfg.grpo_rollouts
    rollouts = _rollouts(Path(log) if isinstance(log, str) else folder)
    if rollouts:
        lines["rollouts"] = rollouts
    if loss:
        lines["lost"] = f"rollouts: {loss}"
    if rollouts or (folder / HELD_OUT).exists():
        lines["view"] = f"axolotl-grpo view {shlex.quote(str(folder))}"
    if cfg.test_datasets:
        lines["evaluate"] = f"axolotl-grpo eval {shlex.quote(str(folder / RUN))}"
    return lines


def _rollouts(folder: Path) -> str:
    """Return the place and size of the rollouts in a folder, "" if it has none."""
    import pyarrow.parquet as pq

    files = rollout_files(folder).counted
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    if not rows:
        return ""
    size = sum(file.stat().st_size for file in files)
    return f"{files[0].parent} ({rows:,} completions, {size / rows:,.0f} bytes each)"
