"""`check_batch` refuses exactly the batch shapes that Axolotl's validation or TRL's arguments refuse."""

from functools import cache
from itertools import product
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.checks.batch import check_batch
from axolotl_grpo_plugin.config import Config

GRID = [
    *product(["grpo"], [1, 3, 4, 8], [1, 2, 6], [None, 2, 3, 8], [1, 2, 3], [None], [None]),
    *product(["gdpo"], [1, 4], [1, 6], [None, 3], [1, 2, 3], [None], [None]),
    *product(["grpo"], [2, 4], [1, 3], [4, 6], [1, 2], [4, 8, 12, 24], [None]),
    *product(["grpo"], [2, 8], [4], [4, 8], [1, 2], [None], [2, 4, 8]),
    # the worked examples of X-R1 and xLR, and shapes that fit
    *product(["grpo", "gdpo"], [4], [1, 2], [6], [3], [None], [None]),
    *product(["grpo", "gdpo"], [4], [1, 4], [14], [7], [None], [None]),
]


@pytest.fixture(scope="module")
def real():
    """Return the first error of Axolotl 0.21 or TRL 1.14 for a config, or ""."""
    from axolotl.cli.config import gpu_capabilities
    from axolotl.core.builders.rl import HFRLTrainerBuilder
    from axolotl.integrations.config import merge_input_args
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault
    from transformers import TrainingArguments
    from trl import GRPOConfig

    classes = cache(merge_input_args)  # slow, and always the same

    def verdict(cfg, ranks, output_dir):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", str(ranks))  # Axolotl reads it there
            capabilities = gpu_capabilities()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("axolotl.utils.config.merge_input_args", classes)
            # TRL would ask the process group.
            patch.setattr(TrainingArguments, "world_size", ranks)
            try:
                valid = validate_config(DictDefault(cfg), *capabilities)
                # As _set_base_training_args of Axolotl's base.py passes them on.
                arguments = {}
                builder = SimpleNamespace(cfg=valid, eval_dataset=valid.test_datasets)
                HFRLTrainerBuilder._configure_save_and_eval_strategy(builder, arguments)
                named = ("num_generations", "generation_batch_size")
                arguments |= {key: valid.trl[key] for key in named if valid.trl[key]}
                GRPOConfig(
                    output_dir=output_dir,
                    use_cpu=True,
                    bf16=False,
                    per_device_train_batch_size=valid.micro_batch_size,
                    per_device_eval_batch_size=valid.eval_batch_size or valid.micro_batch_size,
                    gradient_accumulation_steps=valid.gradient_accumulation_steps,
                    **arguments,
                )
            except ValueError as error:
                return str(error)
        return ""

    return verdict


def config(rl, micro, steps, group, total, evaluated):
    trl = {"num_generations": group, "generation_batch_size": total, "max_completion_length": 8}
    cfg = {
        "base_model": "nobody/nothing",
        "rl": rl,
        "trl": {key: value for key, value in trl.items() if value is not None},
        "datasets": [{"path": "x", "type": "x.y"}],
        "learning_rate": 1e-6,
        "micro_batch_size": micro,
        "gradient_accumulation_steps": steps,
    }
    if evaluated:
        cfg |= {"test_datasets": [{"path": "x", "type": "x.y", "split": "test"}]}
        cfg |= {"eval_steps": 5, "eval_batch_size": evaluated}
    return cfg


def test_refuses_what_axolotl_or_trl_refuses(real, tmp_path):
    refused = 0
    for rl, micro, steps, group, ranks, total, evaluated in GRID:
        cfg = config(rl, micro, steps, group, total, evaluated)
        ours = [str(finding) for finding in check_batch(Config(cfg), ranks)]
        theirs = real(cfg, ranks, tmp_path)
        assert bool(ours) == bool(theirs), (cfg, ranks, ours, theirs)
        refused += bool(theirs)
    assert 80 < refused < len(GRID) - 80
