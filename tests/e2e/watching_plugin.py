"""A plugin that writes the number of rows of each forward pass that generates to rows.json in output_dir.

OWN_LOOP=1: the model generates by transformers' own loop.
"""

import json
import os
from pathlib import Path

import torch
from axolotl.integrations.base import BasePlugin


class Watching(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        if os.environ.get("OWN_LOOP"):
            del trainer.model.generate  # the class has transformers' own
        file, rows = Path(cfg.output_dir, "rows.json"), []

        def count(model, arguments, given):
            # Without a cache, the packed step compares a pass of a few rows with TRL's.
            if not torch.is_grad_enabled() and given.get("past_key_values") is not None:
                rows.append(len(given["input_ids"]))
                file.write_text(json.dumps(rows))

        trainer.model.get_base_model().register_forward_pre_hook(count, with_kwargs=True)
