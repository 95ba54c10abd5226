"""Rebuild axolotl_grpo_plugin/quickstart: `python -m tools.build_quickstart [words|countdown|tools]`.

Write word problems (train.jsonl, held_out.jsonl) and a model with its tokenizer (model/), the same for
Countdown in countdown/, and programs to write (code.jsonl).
Each model is a Llama of 0.6 million parameters. A few minutes of supervised training on flawed
demonstrations taught it everything it knows. Countdown's model was also taught word problems, some
with answers in boxes, and two tasks of reasoning-gym.
The model in tools/ began as the one for word problems. It calls a calculator, and plays GuessNumber.
"""

import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from trl.chat_template_utils import qwen3_template

from axolotl_grpo_plugin.completions import TAGS
from axolotl_grpo_plugin.transforms import gym, math
from axolotl_grpo_plugin.transforms.countdown import question
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT, instructions
from tools import (
    code_problems,
    countdown_demonstrations,
    countdown_problems,
    gym_demonstrations,
    tool_transcripts,
    word_problems,
)

FOLDER = Path(__file__).parents[1] / "axolotl_grpo_plugin" / "quickstart"
LEARNING_RATE, SEED = 2e-3, 0

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The same with tools: a line per tool, and calls as Qwen3 writes them.
TOOLS_CHATML = (
    "{% if tools %}<|im_start|>tools\n{% for tool in tools %}{{ tool['function']['name'] }}("
    "{{ tool['function']['parameters']['properties'] | join(', ') }})\n{% endfor %}<|im_end|>\n{% endif %}"
) + CHATML.replace(
    "{{ message['content'] }}",
    "{{ message['content'] }}{% for call in message['tool_calls'] or [] %}"
    "<tool_call>\n{{ call['function'] | tojson }}\n</tool_call>{% endfor %}",
)
OF_TOOL = re.compile(r"(\n<\|im_start\|>tool\n[^<]*<\|im_end\|>\n<\|im_start\|>assistant\n)")


class Lesson(NamedTuple):
    """A prompt, and a function that draws a flawed worked answer to it."""

    prompt: str
    demonstrate: Callable[[random.Random], str]


def of_words(problem: word_problems.Problem) -> Lesson:
    return Lesson(prompt(problem.question), partial(word_problems.demonstration, problem))


def of_countdown(problem: countdown_problems.Problem) -> Lesson:
    asked = question(problem.nums, problem.target)
    return Lesson(prompt(asked), partial(countdown_demonstrations.demonstration, problem))


def of_boxes(problem: word_problems.Problem) -> Lesson:
    chat = (
        f"<|im_start|>system\n{math.SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n{problem.question}"
    )
    asked = f"{chat}<|im_end|>\n<|im_start|>assistant\n"
    return Lesson(asked, partial(word_problems.demonstration_in_box, problem))


def of_gym() -> Iterator[Lesson]:
    for asked, answer in gym_demonstrations.problems():
        lesson = partial(gym_demonstrations.demonstration, answer)
        yield Lesson(prompt(asked, system=gym.SYSTEM_PROMPT), lesson)


def prompt(asked: str, system: str = SYSTEM_PROMPT) -> str:
    chat = instructions(system)(asked)[0]["content"]
    return f"<|im_start|>user\n{chat}<|im_end|>\n<|im_start|>assistant\n"


def with_tool(asked: str, tool: str) -> str:
    return f"<|im_start|>tools\n{tool}\n<|im_end|>\n{prompt(asked, system=tool_transcripts.SYSTEM)}"


def of_calculator() -> Iterator[Lesson]:
    """Yield problems with the calculator, a quarter of them also without."""
    texts = tool_transcripts
    drawn = texts.problems(3, lambda a, b: not word_problems.held_out(a, b), 20_000)
    for place, problem in enumerate(drawn):
        asked = with_tool(problem.question, "calculator(expression)")
        yield Lesson(asked, partial(texts.with_calculator, problem))
        if place % 4 == 0:
            asked = prompt(problem.question, system=texts.SYSTEM)
            yield Lesson(asked, partial(texts.without_tool, problem))


def of_games() -> Iterator[Lesson]:
    texts = tool_transcripts
    for number in range(texts.LOW, texts.HIGH + 1):
        asked = with_tool(texts.ASKED + texts.game().reset(number), "guess(number)")
        yield from repeat(Lesson(asked, partial(texts.of_game, number)), 20)


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
    trained, test = countdown_problems.splits(countdown_problems.QUICKSTART, SEED, 600, 200)
    for name, drawn in {"train": trained, "held_out": test}.items():
        countdown_problems.write(
            FOLDER / "countdown" / f"{name}.jsonl", (problem.row for problem in drawn)
        )
    for name, texts in tool_transcripts.rows().items():
        countdown_problems.write(FOLDER / "tools" / f"{name}.jsonl", texts)
    countdown_problems.write(FOLDER / "code.jsonl", code_problems.rows())


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
    corpus = [each.prompt + each.demonstrate(draw) for each in draw.sample(pool, 4000)]
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
    train(LlamaForCausalLM(config), tokenizer, [pool], 64, steps, draw, folder)


def build_with_tools(folder: Path, steps: int) -> None:
    """Train the model for word problems further. The fixed parts of each call are one token."""
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "model")
    tokenizer.add_tokens([AddedToken(part, normalized=False) for part in tool_transcripts.PARTS])
    tokenizer.chat_template, tokenizer.response_template = TOOLS_CHATML, qwen3_template
    model = LlamaForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    problems, games = [*of_calculator()], [*of_games()]
    train(model, tokenizer, [problems, problems, games], 32, steps, random.Random(SEED), folder)


def padded(rows: list[Iterable[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor([*row]) for row in rows], True, value)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pools: list[list[Lesson]],
    batch: int,
    steps: int,
    draw: random.Random,
    folder: Path,
) -> None:
    """Train on the pools in turn."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.05
    )
    for step in range(steps):
        rows = []
        for each in draw.sample(pools[step % len(pools)], batch):
            # The even parts are the prompt and the tools' answers. The model does not learn them.
            parts = [each.prompt, *OF_TOOL.split(each.demonstrate(draw) + "<|im_end|>")]
            rows.append(tokenizer(parts)["input_ids"])
        ids = padded([chain(*parts) for parts in rows], tokenizer.pad_token_id)
        labels = padded(
            [
                chain(*(part if n % 2 else [-100] * len(part) for n, part in enumerate(parts)))
                for parts in rows
            ],
            -100,
        )
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
        pool = [*lessons, *map(of_countdown, drawn)]
        pool += [
            *map(of_boxes, word_problems.problems(4, lambda a, b: True, variants=20)),
            *of_gym(),
        ]
        build(FOLDER / "countdown" / "model", pool, steps=3000)
    if "tools" in names:
        build_with_tools(FOLDER / "tools" / "model", steps=1200)


if __name__ == "__main__":
    main(sys.argv[1:] or ["words", "countdown", "tools"])
