"""Rebuild axolotl_grpo_plugin/quickstart: `python -m tools.build_quickstart [words|countdown]`.

Write word problems (train.jsonl, held_out.jsonl) and a model with its tokenizer (model/), the same for
Countdown in countdown/, programs to write (code.jsonl) and a mix of six domains (mix.parquet).
Each model is a Llama of 0.6 million parameters. A few minutes of supervised training on flawed
demonstrations taught it everything it knows. Countdown's model was taught the word problems too.
"""

import random
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl_grpo_plugin import countdown_problems
from axolotl_grpo_plugin.completions import TAGS
from axolotl_grpo_plugin.transforms.countdown import question
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from tools import code_problems, countdown_demonstrations, verl_mix, word_problems

FOLDER = Path(__file__).parents[1] / "axolotl_grpo_plugin" / "quickstart"
BATCH, LEARNING_RATE, SEED = 64, 2e-3, 0

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Lesson(NamedTuple):
    """A question, and a function that draws a flawed worked answer to it."""

    question: str
    demonstrate: Callable[[random.Random], str]


def of_words(problem: word_problems.Problem) -> Lesson:
    return Lesson(problem.question, partial(word_problems.demonstration, problem))


def of_countdown(problem: countdown_problems.Problem) -> Lesson:
    asked = question(problem.nums, problem.target)
    return Lesson(asked, partial(countdown_demonstrations.demonstration, problem))


def write_problems() -> None:
    """Write the problems of all tasks."""
    splits = {
        "train": word_problems.problems(
            1, lambda a, b: not word_problems.held_out(a, b), variants=3
        ),
        "held_out": word_problems.problems(2, word_problems.held_out, variants=3),
    }
    for name, made in splits.items():
        rows = [problem.row for problem in made]
        random.Random(SEED).shuffle(rows)
        countdown_problems.write(FOLDER / f"{name}.jsonl", rows)
    train, test = countdown_problems.splits(countdown_problems.QUICKSTART, SEED, 600, 200)
    for name, drawn in {"train": train, "held_out": test}.items():
        countdown_problems.write(
            FOLDER / "countdown" / f"{name}.jsonl", (problem.row for problem in drawn)
        )
    countdown_problems.write(FOLDER / "code.jsonl", code_problems.rows())
    verl_mix.write(FOLDER / "mix.parquet")


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on these texts. Digits are split; each of the four tags is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # Decoding drops special tokens, and the rewards would never see a tag.
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=512,
    )


def build(folder: Path, pool: list[Lesson], steps: int) -> None:
    torch.manual_seed(SEED)
    draw = random.Random(SEED)

    def prompt(lesson: Lesson) -> str:
        chat = instructions()(lesson.question)[0]["content"]
        return f"<|im_start|>user\n{chat}<|im_end|>\n<|im_start|>assistant\n"

    corpus = [prompt(each) + each.demonstrate(draw) for each in draw.sample(pool, 4000)]
    tokenizer = make_tokenizer(corpus)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.05
    )
    for step in range(steps):
        chosen = draw.sample(pool, BATCH)
        prompts = [tokenizer(prompt(each))["input_ids"] for each in chosen]
        answers = [tokenizer(each.demonstrate(draw) + "<|im_end|>")["input_ids"] for each in chosen]
        width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids = torch.full((BATCH, width), tokenizer.pad_token_id)
        labels = torch.full((BATCH, width), -100)
        for i, (p, a) in enumerate(zip(prompts, answers, strict=True)):
            ids[i, : len(p) + len(a)] = torch.tensor(p + a)
            labels[i, len(p) : len(p) + len(a)] = torch.tensor(a)
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(names: list[str]) -> None:
    write_problems()
    lessons = [of_words(each) for each in word_problems.problems(3, lambda a, b: True, variants=40)]
    if "words" in names:
        build(FOLDER / "model", lessons, steps=1200)
    if "countdown" in names:
        drawn = islice(countdown_problems.problems(countdown_problems.QUICKSTART, 3), 30_000)
        lessons += map(of_countdown, drawn)
        build(FOLDER / "countdown" / "model", lessons, steps=1500)


if __name__ == "__main__":
    main(sys.argv[1:] or ["words", "countdown"])
