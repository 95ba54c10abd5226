"""`torchrun --nproc-per-node 2 gradients_on_ranks.py FOLDER`: one step of SGD, with and without LeanStep."""

import json
import os
import sys
from pathlib import Path

from tests.e2e.gradients import difference, trainer_of

OUT, RANK = Path(sys.argv[1]), int(os.environ["RANK"])
SETTINGS = [
    {"loss_type": "dapo"},
    {"loss_type": "grpo"},
    {"loss_type": "dr_grpo", "beta": 0.04},
    {"loss_type": "bnpo"},
    {"loss_type": "dapo", "vllm": True},
]
PLAIN = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
QUIET = {"save_strategy": "no", "logging_steps": 1, "disable_tqdm": True}


def update(lean, settings):
    """Return the change of the weights in one step, the completion tokens of each pass, and the log."""
    # Ranks have different lengths, and all groups of rank 1 are dead, so that its micro-batches are empty.
    trainer = trainer_of(OUT / "run", seed=RANK, dead=RANK == 1, max_steps=1, **PLAIN, **QUIET, **settings)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    passes = []
    compute = trainer._compute_loss

    def compute_loss(model, inputs):
        passes.append(inputs["completion_ids"].numel())
        return compute(model, inputs)

    trainer._compute_loss = compute_loss
    if lean:
        from axolotl_grpo_plugin.training.lean_step import LeanStep

        LeanStep(trainer, {})
    trainer.train()
    after = trainer.accelerator.unwrap_model(trainer.model).named_parameters()
    changes = {name: before[name] - value.detach() for name, value in after}
    return changes, passes, trainer.state.log_history[0]


results = []
for settings in SETTINGS:
    expected, passes, _ = update(False, settings)
    found, lean_passes, log = update(True, settings)
    result = {
        "loss": settings["loss_type"],
        "apart": difference(expected, found),
        "passes": [len(passes), len(lean_passes)],
        "tokens": sum(lean_passes),
        "logged": [log["tokens/computed"], log["entropy"]],
    }
    results.append(result)
(OUT / f"{RANK}.json").write_text(json.dumps(results))
