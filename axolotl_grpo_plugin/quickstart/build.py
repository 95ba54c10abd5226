"""Rebuild the embedded default: `python -m axolotl_grpo_plugin.quickstart.build`.

Writes the problems (train.jsonl, held_out.jsonl) and the model with its tokenizer (model/)
beside this file. The model is a Llama of 0.6 million parameters, and knows nothing but what a
few minutes of supervised training on `problems.demonstration` taught it.
"""

import json
import random
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl_grpo_plugin.completions import TAGS
from axolotl_grpo_plugin.quickstart.problems import Problem, demonstration, held_out, problems
from axolotl_grpo_plugin.transforms.gsm8k import instructions

FOLDER = Path(__file__).parent
STEPS, BATCH, LEARNING_RATE, SEED = 1200, 64, 2e-3, 0

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_problems() -> None:
    """The problems of the training and, on other pairs of operands, of the held-out split."""
    splits = {
        "train": problems(1, lambda a, b: not held_out(a, b), variants=3),
        "held_out": problems(2, held_out, variants=3),
    }
    for name, made in splits.items():
        rows = [problem.row for problem in made]
        random.Random(SEED).shuffle(rows)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (FOLDER / f"{name}.jsonl").write_text(text)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of these texts: digits apart, each of the four tags one token."""
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
    # Not special tokens: decoding drops those, and the rewards would never see a tag.
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=512,
    )


def build() -> None:
    torch.manual_seed(SEED)
    draw = random.Random(SEED)
    write_problems()
    pool: list[Problem] = list(problems(3, lambda a, b: True, variants=40))

    def prompt(problem: Problem) -> str:
        chat = instructions()(problem.question)[0]["content"]
        return f"<|im_start|>user\n{chat}<|im_end|>\n<|im_start|>assistant\n"

    corpus = [prompt(each) + demonstration(each, draw) for each in draw.sample(pool, 4000)]
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
        optimizer, max_lr=LEARNING_RATE, total_steps=STEPS, pct_start=0.05
    )
    for step in range(STEPS):
        chosen = draw.sample(pool, BATCH)
        prompts = [tokenizer(prompt(each))["input_ids"] for each in chosen]
        answers = [
            tokenizer(demonstration(each, draw) + "<|im_end|>")["input_ids"] for each in chosen
        ]
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
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    model.bfloat16().save_pretrained(FOLDER / "model")
    tokenizer.save_pretrained(FOLDER / "model")


if __name__ == "__main__":
    build()
