"""Measure generation without vLLM: CPU seconds of transformers' own loop and of the plugin's.

    axolotl-grpo fetch smollm2
    python -m benchmarks.generation models/smollm2-135m-instruct

It prints a Markdown table. The two loops alternate in one process with one thread. They draw other random numbers,
so their completions differ in length, and each repetition has a seed of its own.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean, median

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from axolotl_grpo_plugin.training.fewer_tokens import generate_fewer_tokens
from benchmarks.all import facts

QUICKSTART = Path(__file__).parents[1] / "axolotl_grpo_plugin" / "quickstart"
EXAMPLE = [
    {"role": "system", "content": "Answer."},
    {"role": "user", "content": "Tom gets 3 nuts every day for 5 days. How many nuts is that?"},
    {"role": "assistant", "content": "3 * 5 = 15 #### 15"},
]
LOOPS = {"transformers' own": {}, "fewer tokens": {"custom_generate": generate_fewer_tokens}}


def batch_of(tokenizer, prompts, rows, before):
    """Return `prompts` prompts with `rows` rows each, padded on the left. before: messages before the question."""
    lines = (QUICKSTART / "train.jsonl").read_text().splitlines()[:prompts]
    ids = []
    for line in lines:
        chat = [*before, {"role": "user", "content": json.loads(line)["question"]}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        ids += [prompt] * rows
    return tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")


def measure(name, folder, prompts, rows, most, before, repetitions, calls):
    """Print one table row per loop. calls: of `generate` per repetition."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    batch = batch_of(tokenizer, prompts, rows, before)
    width = batch["input_ids"].shape[1]
    config = {
        "max_new_tokens": most,
        "top_k": 0,
        "pad_token_id": tokenizer.pad_token_id,
        "disable_compile": True,
    }
    sampled = GenerationConfig(
        **config, do_sample=True, temperature=1.0, eos_token_id=tokenizer.eos_token_id
    )
    greedy = GenerationConfig(**config, do_sample=False, eos_token_id=tokenizer.eos_token_id)
    answers = [model.generate(**batch, generation_config=greedy, **loop) for loop in LOOPS.values()]
    equal = torch.equal(*answers)
    seconds = {loop: [] for loop in LOOPS}
    lengths = {loop: [] for loop in LOOPS}
    for repetition in range(repetitions):
        for loop, keywords in LOOPS.items():
            torch.manual_seed(repetition)
            began = time.process_time()
            for _ in range(calls):
                output = model.generate(**batch, generation_config=sampled, **keywords)
                lengths[loop] += (output[:, width:] != tokenizer.pad_token_id).sum(dim=1).tolist()
            seconds[loop].append((time.process_time() - began) / calls)
    first = median(seconds["transformers' own"])
    for loop, found in seconds.items():
        spread = f"{min(found):.3g} to {max(found):.3g}"
        factor = first / median(found)
        print(
            f"| {name}, {len(batch['input_ids'])} rows, {prompts} prompts of {width} tokens, at most {most} new | {loop} "
            f"| {median(found):.3g} | {spread} | {factor:.2f}x | {mean(lengths[loop]):.1f} | {'yes' if equal else 'NO'} |"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("smollm2", help="the folder of SmolLM2-135M-Instruct")
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(facts(), "\n")
    print(
        "| model and batch | loop | CPU s, median | from, to | speed | mean length | greedy equal |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    measure("quickstart", QUICKSTART / "model", 8, 8, 32, [], given.repetitions, 20)
    measure(
        "quickstart, held-out rows", QUICKSTART / "model", 128, 1, 32, [], given.repetitions, 10
    )
    measure("SmolLM2-135M", given.smollm2, 3, 8, 36, EXAMPLE, given.repetitions, 1)


if __name__ == "__main__":
    main()
