"""Compare the speeds of a new run of the benchmarks with the recorded ones, and name what got slower.

    python -m benchmarks.all FOLDER --only rewards scoring lengths
    python -m benchmarks.speeds FOLDER

A speed is a cost relative to a yardstick of the same run, such as TRL's reward on the same completions. So it hardly
depends on the machine. To record new speeds, copy FOLDER/*.json to benchmarks/results/speeds.
"""

import argparse
import json
import os
from pathlib import Path

RECORDED = Path(__file__).parent / "results" / "speeds"
LIMIT = 1.25  # times the recorded cost; two runs on a quiet machine differ by less


def record(name: str, costs: dict[str, float]) -> None:
    """Write the costs of a benchmark to $SPEEDS/NAME.json, if that folder is set."""
    folder = os.environ.get("SPEEDS")
    if folder:
        rounded = {key: round(cost, 6) for key, cost in costs.items()}
        Path(folder, f"{name}.json").write_text(json.dumps(rounded, indent=1) + "\n")


def slower(recorded: dict[str, float], new: dict[str, float]) -> list[str]:
    """Return a line for each measure that got slower or is missing."""
    lines = []
    for name, cost in recorded.items():
        if name not in new:
            lines.append(f"{name}: the new run did not measure this.")
        elif new[name] > LIMIT * cost:
            times = new[name] / cost
            lines.append(
                f"{name}: {times:.2f} times as slow as recorded ({cost:g} -> {new[name]:g})."
            )
    return lines


def main(folder: Path) -> int:
    lines = []
    for file in sorted(folder.glob("*.json")):
        recorded = json.loads((RECORDED / file.name).read_text())
        for line in slower(recorded, json.loads(file.read_text())):
            lines.append(f"{file.stem}: {line}")
    print("\n".join(lines) or "Nothing got slower.")
    return 1 if lines else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    raise SystemExit(main(parser.parse_args().folder))
