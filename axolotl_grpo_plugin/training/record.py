"""Record a run in its output folder: run.yaml, which repeats it, and the commands that come next."""

import json
import os
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.training.held_out import FILE
from axolotl_grpo_plugin.training.report import PLOT

RUN = "run.yaml"
_PACKAGES = ("axolotl-grpo-plugin", "axolotl", "trl", "transformers", "torch", "vllm")
_TRAIN = ("axolotl", "grpo", "train")  # it takes every config
_ADDED = ("axolotl_config_path", "debug", "debug_num_examples", "debug_text_only", "shard")
_LEFT_OUT = (*_ADDED, "comet_api_key")  # Axolotl's command line adds the others


def write_run(given: dict[str, Any], folder: Path) -> None:
    """Write run.yaml: the config after command-line options, with the command and versions on top.

    given: the config before Axolotl adds its defaults. `axolotl grpo train` can read the file.
    """
    config = {key: value for key, value in given.items() if key not in _LEFT_OUT}
    plain = json.loads(json.dumps(config, default=str))  # under Ray it has enums
    head = [
        f"Command:  {shlex.join([*_TRAIN, *_words()])}",
        f"Started:  {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {os.getcwd()}",
        f"Versions: {', '.join(f'{name} {each}' for name, each in versions().items())}",
    ]
    text = "".join(f"# {line}\n" for line in head)
    folder.mkdir(parents=True, exist_ok=True)
    text += yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    (folder / RUN).write_text(text, encoding="utf-8")


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
    """Return the words after `axolotl train`, also if a launcher started this process."""
    words = sys.argv[1:]
    return words[1:] if words[:1] == ["train"] else words


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
