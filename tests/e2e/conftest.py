"""Real runs: Axolotl's own command line, real models, real data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.e2e import vllm_on_cpu

ROOT = Path(__file__).parents[2]


def environment(**more):
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


def start(*arguments, cwd=ROOT, start_new_session=False, **more):
    """Start `axolotl ARGUMENTS`; its output goes to one pipe."""
    return subprocess.Popen(
        ["axolotl", *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=start_new_session,
    )


def finish(process, returncode=0):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == returncode, output[-6000:]
    return output


def axolotl(*arguments, returncode=0, **options):
    """Run `axolotl ARGUMENTS` to its end and return what it printed."""
    return finish(start(*arguments, **options), returncode)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """SmolLM2-135M-Instruct as `axolotl grpo fetch smollm2` makes it; kept between runs in models/."""
    folder = ROOT / "models" / "smollm2-135m-instruct"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # of two workers, one makes it
        if not (folder / "config.json").exists():
            axolotl("grpo", "fetch", "smollm2", "--dest", folder)
    return folder


@pytest.fixture(scope="session")
def vllm():
    """The Python that has vLLM; kept between runs in build/."""
    folder = ROOT / "build" / "vllm-on-cpu"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        return vllm_on_cpu.build(folder)


@pytest.fixture(scope="session")
def gsm8k():
    folder = os.environ.get("GSM8K_DIR")
    if not folder or not (Path(folder) / "train.jsonl").exists():
        pytest.skip("set GSM8K_DIR to a folder with GSM8K's train.jsonl and test.jsonl")
    return Path(folder)
