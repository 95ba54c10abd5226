"""Plugins that plant faults of the weight sync, and a reward. New weights never reach vLLM, and nothing fails (verl#7495)."""

import shutil
from pathlib import Path

from axolotl.integrations.base import BasePlugin


class OldAdapter(BasePlugin):
    """Each sync of an adapter loads the files of the first one, under the new name."""

    def register(self, cfg):
        from axolotl.utils import vllm_lora_sync

        load = vllm_lora_sync._load_adapter

        def load_first(base_url, name, path, timeout):
            first = Path(path).with_name("first")
            if not first.exists():
                shutil.copytree(path, first)
            load(base_url, name, str(first), timeout)

        vllm_lora_sync._load_adapter = load_first


class LostWeights(BasePlugin):
    """No sync of all weights does anything. A real one needs GPUs."""

    def register(self, cfg):
        from trl.generation.vllm_client import VLLMClient
        from trl.generation.vllm_generation import VLLMGeneration

        VLLMClient.init_communicator = VLLMClient.close_communicator = lambda *_, **__: None
        VLLMGeneration.sync_weights = lambda _: None


def letters(completions, **_):
    """Pay for each letter e, so that completions differ."""
    return [float(messages[0]["content"].count("e")) for messages in completions]
