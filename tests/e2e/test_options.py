"""Options of `axolotl-grpo train`, as Axolotl's own parser reads them."""

import pytest

from tests.conftest import ROOT, invoke

CONFIG = ROOT / "configs/quickstart.yaml"


@pytest.mark.parametrize(
    "words, fix",
    [
        (
            ["--max-stpes", 5],
            "--max-stpes: no option of `axolotl train`, nor of its launcher. Did you mean --max-steps?",
        ),
        (["--max_steps", 5], "Did you mean --max-steps?"),
        (["--trl.betta=0.1"], "Did you mean --trl.beta?"),
        # Axolotl's launchers write it so. It would train at the temperature of the YAML.
        (["--trl--temperature=0.9"], "Did you mean --trl.temperature?"),
        (["--launcher", "torchrun", "--nproc-per-nod", 2], "Did you mean --nproc-per-node?"),
        (["--launcher", "python", "--num-processes", 2], "--num-processes: no option of `axolotl train`"),
    ],
)
def test_refuses_a_misspelt_option(words, fix):
    assert fix in invoke("train", CONFIG, *words, "--dry-run", code=1).output


@pytest.mark.parametrize(
    "words",
    [["--max-steps", 5], ["--num-processes", 1], ["--mixed_precision=bf16"], ["--nodes", 2, "--nproc-per-node", 2]],
)
def test_accepts_options_of_axolotl_and_of_its_launcher(words):
    invoke("train", CONFIG, *words, "--dry-run")
