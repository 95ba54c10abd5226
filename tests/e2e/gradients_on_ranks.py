"""`python tests/e2e/ranks.py gradients_on_ranks.py FOLDER SETTINGS`: an update by TRL's trainer and by the packed one.

SETTINGS: a list of settings, as JSON. ENGINE in the environment: of the ranks, plain DDP by default.
"""

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from axolotl_grpo_plugin.training.packed_step import step
from tests.e2e.gradients import difference, trainer_of
from tests.engines import on_ranks

OUT, SETTINGS, RANK = Path(sys.argv[1]), json.loads(sys.argv[2]), int(os.environ["RANK"])
ENGINE = on_ranks.connect(os.environ.get("ENGINE"))
PLAIN = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
QUIET = {"save_strategy": "no", "logging_steps": 1, "disable_tqdm": True}


def update(packed, settings):
    """Return the change of the weights, the tokens that each training pass computes, the log, and the trainer."""
    # Ranks have different lengths, and all groups of rank 1 are dead, so that its own passes are empty.
    dead = "all" if RANK == 1 else "half"
    steps = settings.pop("steps", 1)
    keys = {**PLAIN, **QUIET, **ENGINE, **settings}
    if keys.pop("second_rank_repeats", True) is False:
        keys["repeats"] = RANK == 0
    trainer = trainer_of(OUT / "run", packed, seed=RANK, dead=dead, max_steps=steps, **keys)
    before = on_ranks.weights(trainer.model)
    passes = []
    compute = trainer._compute_loss

    def compute_loss(model, inputs):
        passes.append(int(inputs["completion_mask"].sum()))
        return compute(model, inputs)

    trainer._compute_loss = compute_loss
    trainer.train()
    after = on_ranks.weights(trainer.accelerator.unwrap_model(trainer.model))
    changes = {name: before[name] - value for name, value in after.items()}
    return changes, passes, trainer.state.log_history[0], trainer


results = []
for settings in SETTINGS:
    expected, passes, _, _ = update(False, dict(settings))
    found, packed_passes, log, trainer = update(True, dict(settings))
    assert trainer.packed_step.startswith("pack"), trainer.packed_step
    result = {
        "settings": settings,
        "apart": difference(expected, found),
        "passes": [len(passes), len(packed_passes)],
        "tokens": sum(packed_passes),
        # With beta, the completions of dead groups have a gradient, too.
        "dealt": trainer.packed_step == "pack, skip" and settings["loss_type"] != "bnpo",
        "logged": [log["tokens/computed"], log["entropy"]],
        "engine": str(trainer.accelerator.distributed_type),
    }
    results.append(result)

if not ENGINE:  # a rank that fails alone would not gather the weights that the others gather in the pass
    with patch.object(step, "Layout", side_effect=NotImplementedError("no such attention")) if RANK else nullcontext():
        *_, trainer = update(True, {"loss_type": "dapo"})
    (OUT / f"{RANK}.txt").write_text(trainer.packed_step)
(OUT / f"{RANK}.json").write_text(json.dumps(results))
