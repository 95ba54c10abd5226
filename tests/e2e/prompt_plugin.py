"""A plugin that writes the prompts that TRL tokenizes, and their ids, to prompts.json in output_dir."""

import json
from pathlib import Path

from axolotl.integrations.base import BasePlugin


class PromptIds(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        file, seen = Path(cfg.output_dir, "prompts.json"), []
        tokenize = trainer._tokenize_prompts

        def logged(prompts):
            result = tokenize(prompts)
            seen.extend(zip(prompts, result[0], strict=True))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(seen))
            return result

        trainer._tokenize_prompts = logged
