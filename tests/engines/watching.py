"""A plugin for tests: it writes how an engine has sharded the model, and signals a rank if the run's folder says so."""

import json
import os
import signal
from pathlib import Path

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback

SIGNALLED = "signalled"  # the name of the output folder of a run that is signalled
STEPS = 2  # before the signal


class Engine(TrainerCallback):
    """Writes the kinds of the parameters of each rank, before the first step."""

    def on_step_begin(self, args, state, control, model=None, **_):
        file = Path(args.output_dir, f"engine-{os.environ['RANK']}.json")
        if file.exists():
            return
        kinds = set()
        for weight in model.parameters():
            kinds.add("ZeRO-3" if hasattr(weight, "ds_id") else type(weight).__name__)
        file.write_text(json.dumps(sorted(kinds)))


class Signal(TrainerCallback):
    """Sends the second rank SIGTERM in the third step, as a cluster may."""

    def on_step_begin(self, args, state, control, **_):
        if os.environ["RANK"] == "1" and state.global_step == STEPS:
            os.kill(os.getpid(), signal.SIGTERM)


class Watched(BasePlugin):
    def add_callbacks_post_trainer(self, cfg, trainer):
        return [Engine(), Signal()] if Path(cfg["output_dir"]).name == SIGNALLED else [Engine()]
