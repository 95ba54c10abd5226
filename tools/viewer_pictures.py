"""Make the pictures of docs/viewer.md: python -m tools.viewer_pictures FOLDER (4 minutes; needs Chromium).

Train 40 steps of the quickstart twice into FOLDER: as it is, and with a reward that pays 3.0 for a plus sign. A finished
run is kept.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from tests.viewer.chromium import browser

ROOT = Path(__file__).resolve().parents[1]
AXOLOTL = Path(sys.executable).with_name("axolotl")
QUICK, HACKED = "quickstart", "hacked"
# The runs of a page, and its place.
PICTURES = {
    "run": ([QUICK], "view=run"),
    "groups": ([QUICK], "view=groups&step=26"),
    "find": ([QUICK], "view=find&reward=0&why=wrong_value"),
    "prompts": ([QUICK], "view=prompts"),
    "answers": ([QUICK], "view=answers"),
    "compare": ([QUICK, HACKED], "view=compare"),
    "two-runs": ([QUICK, HACKED], "view=run&run=1"),
}


def plus_reward_func(completions: list[str], **columns: object) -> list[float]:
    """Pay for a plus sign."""
    return [3.0 if "+" in str(completion) else 0.0 for completion in completions]


def train(run: Path) -> None:
    """Train, if FOLDER has no such run."""
    if (run / "training.png").exists():
        return
    cfg = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    cfg |= {"output_dir": run.name, "grpo_rollouts": True, "max_steps": 40}
    if run.name == HACKED:
        cfg["trl"]["reward_funcs"].append("tools.viewer_pictures.plus_reward_func")
    run.parent.mkdir(parents=True, exist_ok=True)
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(cfg))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([AXOLOTL, "grpo", "train", file.name], cwd=run.parent, env=env, check=True)


def main(folder: Path) -> None:
    for name in (QUICK, HACKED):
        train(folder / name)
    page = folder / "view.html"
    with browser() as chromium:
        for name, (runs, place) in PICTURES.items():
            folders = [folder / each for each in runs]
            subprocess.run([AXOLOTL, "grpo", "view", *folders, "-o", page], cwd=ROOT, check=True)
            chromium.size(1280, 720, dark=name == "two-runs")
            chromium.open(f"file://{page}")
            chromium.view(place)
            if name == "two-runs":
                chromium.run(
                    "document.querySelector('.charts').scrollIntoView(); scrollBy(0, -100)"
                )
            file = ROOT / "docs" / f"viewer-{name}.png"
            chromium.shot(file)
            Image.open(file).quantize(64).save(file, optimize=True)  # a third of the size


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
