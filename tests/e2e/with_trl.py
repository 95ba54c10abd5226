"""Run a part of test_trl_versions.py with the TRL that comes first on PYTHONPATH.

python with_trl.py VERSION axolotl ARGUMENTS...    runs `axolotl ARGUMENTS`
python with_trl.py VERSION gradients FOLDER        prints how far the gradients of each setting are from TRL's, as JSON
"""

import json
import os
import sys

SETTINGS = [
    {"loss_type": "dapo", "vllm": True},
    {"loss_type": "vespo", "vllm": True},
    {"loss_type": "grpo", "beta": 0.04},
    {"loss_type": "dapo", "gradient_checkpointing": True},
    {"loss_type": "dapo", "lora": True, "beta": 0.04},
    {"loss_type": "bnpo", "tools": True},
    {"loss_type": "grpo", "num_iterations": 2, "steps": 2},
    {"loss_type": "grpo", "entropy_coef": 0.01},
    {"loss_type": "grpo", "top_entropy_quantile": 0.2},
]


def compare(folder):
    from tests.e2e.gradients import difference, gradients

    for settings in SETTINGS:
        expected, _ = gradients(folder, False, **settings)
        found, trainer = gradients(folder, True, **settings)
        line = {"settings": settings, "apart": difference(expected, found), "speed": trainer.packed_step}
        print(json.dumps(line), flush=True)


def main(version, command, *arguments):
    import trl  # not above, because the test imports SETTINGS

    folder = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    assert trl.__file__.startswith(folder) and trl.__version__ == version, (trl.__file__, trl.__version__)
    if command == "gradients":
        return compare(*arguments)
    from axolotl.cli.main import main as axolotl

    sys.argv = [command, *arguments]
    axolotl()


if __name__ == "__main__":
    main(*sys.argv[1:])
