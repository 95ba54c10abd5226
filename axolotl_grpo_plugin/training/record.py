"""Record a run in its output folder: run.yaml, which repeats it, and the commands that come next."""

import json
import os
import shlex
import sys
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.training.held_out import FILE
from axolotl_grpo_plugin.training.report import PLOT

RUN, CARD = "run.yaml", "README.md"
_PACKAGES = ("axolotl-grpo-plugin", "axolotl", "trl", "transformers", "torch", "vllm")
_TRAIN = ("axolotl", "grpo", "train")  # it takes every config
_ADDED = ("axolotl_config_path", "debug", "debug_num_examples", "debug_text_only", "shard")
_LEFT_OUT = (*_ADDED, "comet_api_key")  # Axolotl's command line adds the others


def write_run(given: dict[str, Any], folder: Path, more: dict[str, str] | None = None) -> None:
    """Write run.yaml: the config after command-line options, with facts about the run on top.

    given: the config before Axolotl adds its defaults. `axolotl grpo train` can read the file. more:
    facts by their name.
    """
    config = {key: value for key, value in given.items() if key not in _LEFT_OUT}
    plain = json.loads(json.dumps(config, default=str))  # under Ray it has enums
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    known = {
        "Command": shlex.join([*_TRAIN, *_words()]),
        "Started": f"{_now()}, in {os.getcwd()}",
        "Versions": ", ".join(f"{name} {each}" for name, each in versions().items()),
        "Config": f"sha256 {sha256(text.encode()).hexdigest()[:16]}",
        **(more or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).write_text(_head(known) + text, encoding="utf-8")


def add_facts(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """Add facts to the top of run.yaml, or replace them. Return all."""
    file = folder / RUN
    known = {**facts(file), **more}
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("# "))
    file.write_text(_head(known) + text, encoding="utf-8")
    return facts(file)


def facts(file: Path) -> dict[str, str]:
    """Return the facts on top of a run.yaml by their name."""
    lines = file.read_text(encoding="utf-8").splitlines()
    pairs = (line[2:].partition(":") for line in lines if line.startswith("# "))
    return {name: text.strip() for name, _, text in pairs}


def facts_of(trainer: Any) -> dict[str, str]:
    """Return a run's hardware, and its rows with a hash that does not depend on their order."""
    import torch

    ranks, rows = trainer.accelerator.num_processes, trainer.train_dataset
    cores = len(os.sched_getaffinity(0))
    hardware = f"CPU, {cores} core{'s' * (cores > 1)}"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        hardware = f"{ranks} x {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    parts = (batch.to_pylist() for batch in rows.with_format("arrow").iter(1000))
    texts = (json.dumps(row, sort_keys=True, default=str) for part in parts for row in part)
    digests = sorted(sha256(text.encode()).digest() for text in texts)
    digest = sha256(b"".join(digests)).hexdigest()[:16]
    return {"Hardware": hardware, "Data": f"{len(rows):,} rows, sha256 {digest}"}


def _head(known: dict[str, str]) -> str:
    return "".join(f"# {f'{name}:':9} {' '.join(text.split())}\n" for name, text in known.items())


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that matter for a run."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:  # vllm is optional
            continue
    return installed


def _words() -> list[str]:
    """Return the words after `axolotl train`, without options that Axolotl or `axolotl grpo train` add."""
    words = sys.argv[1:]
    words = words[1:] if words[:1] == ["train"] else words
    words = words[:-2] if words[-2:] == ["--launcher", "python"] else words
    keys = [word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words]
    return [word for word, key in zip(words, keys, strict=True) if key not in _ADDED]


def show_end(cfg: Any) -> None:
    """Print where the results of a finished run are, and the commands that come next."""
    from axolotl_grpo_plugin.training.banner import show

    if os.environ.get("RANK", "0") == "0":
        show(results(cfg))


def results(cfg: Any) -> dict[str, str]:
    """Return the results of a run in its output folder, and the commands for them, by a short name."""
    folder = Path(cfg["output_dir"])
    adapter = f" (adapter for {cfg['base_model']})" if cfg.get("adapter") else ""
    lines = {"model": f"{folder}{adapter}", "config": f"{folder / RUN}"}
    answers, logged, look = folder / FILE, cfg.get("grpo_rollouts"), None
    if (folder / PLOT).exists():
        lines["picture"] = f"{folder / PLOT}"
    if (folder / CARD).exists():
        lines["card"] = f"{folder / CARD}"
    if answers.exists():
        lines["answers"] = look = f"{answers}"
    if logged:
        lines["rollouts"] = f"{folder / 'rollouts' if logged is True else logged}"
        look = f"{folder if logged is True else logged}"
    elif (folder / "completions").exists():
        lines["rollouts"] = f"{folder / 'completions'}"
    if look:
        lines["view"] = shlex.join(["axolotl", "grpo", "view", str(folder)])
    if look and (options := _reward_options(cfg)):
        lines["look"] = shlex.join(["axolotl", "grpo", "score", look, *options])
    if cfg.get("test_datasets"):
        lines["evaluate"] = shlex.join(["axolotl", "grpo", "eval", f"{folder / RUN}"])
    checkpoints = [each.parent for each in folder.glob("checkpoint-*/trainer_state.json")]
    if checkpoints:
        last = max(checkpoints, key=lambda each: int(each.name.rpartition("-")[2]))
        steps = 2 * json.loads((last / "trainer_state.json").read_text())["max_steps"]
        options = ["--resume-from-checkpoint", str(last), "--max-steps", str(steps)]
        lines["resume"] = shlex.join([*_TRAIN, str(folder / RUN), *options])
    return lines


def _reward_options(cfg: Any) -> list[str]:
    """Return the options of `axolotl grpo score` for the first reward that is not a model."""
    for reward in reward_refs(cfg):
        if not is_model(reward.key):
            pairs = [f"{name}={json.dumps(value)}" for name, value in reward.arguments]
            return ["--reward", reward.path, *(word for pair in pairs for word in ("--arg", pair))]
    return []
