"""The README's first command learns and reports, a run resumes, and the wheel has all files."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from zipfile import ZipFile

import pytest
import yaml
from huggingface_hub import ModelCard

from axolotl_grpo_plugin.cli import grpo
from tests.e2e.conftest import (
    ROOT,
    axolotl,
    environment,
    finish,
    held_out,
    held_out_answers,
    history,
    shipped_config,
    start,
)

UV = os.environ.get("UV", "uv")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The README's command, through `accelerate launch`: the run's folder and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "out"
    more = ("--seed", 1, "--output-dir", folder, "--max-steps", 40)
    saving = ("--save-strategy", "steps", "--save-steps", 40)
    return folder, finish(start("train", "configs/quickstart.yaml", *more, *saving))


def test_held_out_correctness_rises(run):
    for change in held_out(run[0], "correctness_reward_func").values():
        assert change["rows"] == 234
        assert change["difference"]["low"] > 0.0, change
    assert all(isinstance(answer["read/correctness_reward_func"], str) for answer in held_out_answers(run[0]))


def test_prints_curves_and_held_out_scores(run):
    folder, printed = run
    assert re.search(r"reward \d\.\d\d right \d+% dead \d+% truncated \d+% [\d.]+k? tokens/s\]", printed)
    assert "step 1, prompt of 8 completions: ..." in printed and "step 26, prompt" in printed
    assert "held-out rows, sampled: 234 rows" in printed
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list(folder.rglob("events.out.tfevents.*"))
    assert len(list((folder / "rollouts" / "train").glob("*.parquet"))) == 40
    assert "in the last 20 steps" not in printed  # no warning


def test_closing_block_names_files_that_exist(run):
    folder, printed = run
    block = printed[printed.rindex("   model  ") :]
    for name in ("", "/README.md"):
        assert f"  {folder}{name}\n" in block and (folder / name.strip("/")).exists()
    for name in ("run.yaml", "training.png", "held_out/scores.parquet", "rollouts"):
        assert (folder / name).exists()


def test_run_file_has_the_config_as_run_and_the_card_its_results(run):
    folder, _ = run
    config = yaml.safe_load((folder / "run.yaml").read_text())
    given = shipped_config()
    options = {"seed": 1, "max_steps": 40, "output_dir": str(folder), "save_steps": 40}
    changed = {key for key, value in config.items() if value != given.get(key)}
    assert changed - options.keys() <= {"save_strategy"}
    assert options.items() <= config.items()
    card = (folder / "README.md").read_text()
    assert "`pkg://axolotl_grpo_plugin/quickstart/model`, trained on" in card
    assert "- correctness: 1.33 → " in card and "| Trained | `40 steps, " in card
    first, second = ModelCard(card).data.eval_results
    assert first.metric_value > 0.66 and "right, sampled (234 rows" in second.metric_name


def test_resumed_run_keeps_its_earlier_answers(run, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(run[0], folder)
    first = held_out_answers(folder)
    checkpoint = ("--resume-from-checkpoint", run[0] / "checkpoint-40", "--max-steps", 42)
    axolotl("grpo", "train", run[0] / "run.yaml", *checkpoint, "--output-dir", folder, "--save-steps", 42)
    answers = held_out_answers(folder)
    assert answers[: len(first)] == first
    assert {answer["model"] for answer in answers[len(first) :]} == {"after"}
    changes = held_out(folder, "correctness_reward_func")
    assert all(change["rows"] == 234 for change in changes.values())
    assert [log["step"] for log in history(folder, 42)] == [*range(1, 43)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sdist, and the wheel from it. Return their folder."""
    folder = tmp_path_factory.mktemp("built")
    subprocess.run([UV, "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True)
    return folder


def test_sdist_has_the_files_of_git_and_no_others(built):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names == {"PKG-INFO"} | {name for name in files if (ROOT / name).is_file()}


def test_wheel_has_configs_rewards_benchmarks_and_the_quickstart_model(built):
    (wheel,) = built.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"axolotl_grpo_plugin"}
    folders = {"configs": "pack/configs", "rewards": "pack/rewards"}
    folders |= {f"axolotl_grpo_plugin/{name}": name for name in ("quickstart", "evaluation")}
    for folder, inside in folders.items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                name = file.relative_to(ROOT / folder).as_posix()
                assert f"axolotl_grpo_plugin/{inside}/{name}" in names
    assert {f"axolotl_grpo_plugin/{name}" for name in ("pack/cloud.yaml", "repairs/upstream.toml")} <= names


@pytest.mark.slow
def test_installed_wheel_trains_and_evaluates_in_an_empty_folder(tmp_path, built):
    empty = tmp_path / "empty"
    empty.mkdir()
    installed = tmp_path / "venv"
    (wheel,) = built.glob("*.whl")
    venv = [UV, "venv", "--quiet", "--python", sys.executable, str(installed)]
    subprocess.run(venv, check=True)
    # Without the checkout's settings. Outside of the checkout, pyenv may not find uv.
    to = ["--quiet", "--no-config", "--python", str(installed / "bin" / "python")]
    subprocess.run([UV, "pip", "install", *to, str(wheel)], check=True)
    path = f"{installed / 'bin'}{os.pathsep}{environment()['PATH']}"

    # Without compiled modules outside the venv, which is thrown away.
    env = environment(PATH=path, PYTHONPYCACHEPREFIX="")

    def call(*words):
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([installed / "bin" / words[0], *words[1:]], cwd=empty, env=env, **out)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    for command in grpo.commands:
        assert f"Usage: axolotl-grpo {command} " in call("axolotl-grpo", command, "--help")
    assert "wrote    configs/quickstart.yaml" in call("axolotl", "grpo", "fetch")
    assert (empty / "rewards" / "true_equation.py").exists()
    assert "kept     configs/quickstart.yaml" in call("axolotl-grpo", "fetch")
    assert "not tested" not in call("axolotl-grpo", "check", "configs/quickstart.yaml")
    printed = call("axolotl", "train", "configs/quickstart.yaml", "--max-steps", "3")
    assert "3/3" in printed and "held-out rows" in printed
    assert (empty / "outputs" / "quickstart" / "model.safetensors").exists()
    assert "eval.json, eval.md" in call("axolotl-grpo", "eval", "configs/quickstart.yaml", "--limit", "8")
