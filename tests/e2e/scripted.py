"""A tiny model that knows no words, and rows that say which words a script writes in its place."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

TEMPLATE = Path(find_spec("trl").origin).parent / "chat_templates" / "qwen3.jinja"
CALL = '<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>'


def make_model(folder):
    """Write a Llama of 40,000 random parameters, whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE.read_text()
    tokenizer.save_pretrained(folder)
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8192,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def trainer_of(model, rewards, rows, tools=None, eos="<|im_end|>", kind=None, **more):
    """Return a trainer of a model with ChatML, on the CPU.

    Args:
        eos: The EOS token.
        kind: The class of the trainer. None is TRL's.
        more: For GRPOConfig.
    """
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import GRPOConfig, GRPOTrainer

    set_seed(0)
    args = GRPOConfig(report_to=[], use_cpu=True, bf16=False, **more)
    tokenizer = AutoTokenizer.from_pretrained(model, eos_token=eos)
    model = AutoModelForCausalLM.from_pretrained(model, dtype="float32").train()
    return (kind or GRPOTrainer)(model, rewards, args, Dataset.from_list(rows), processing_class=tokenizer, tools=tools)


def write_scripted(trainer):
    """Let the trainer write what the prompts say, and nothing else.

    A prompt has a JSON list of the model's turns. A turn that is a list has one text for each completion
    of the group, and "{}" stands for the last answer of a tool.
    """
    tokenizer = trainer.processing_class

    def single_turn(prompt_ids, *_, **__):
        ids = []
        for number, prompt in enumerate(prompt_ids):
            text = tokenizer.decode(prompt)
            answers = re.findall(r"<tool_response>\n(.*?)\n</tool_response>", text, re.S)
            turns = json.loads(re.search(r"^turns: (.*) END", text, re.M)[1])
            said = turns[min(text.count("<tool_response>\n"), len(turns) - 1)]
            if isinstance(said, list):  # one for each completion of the group
                said = said[number % len(said)]
            said = said.replace("{}", answers[-1][:60] if answers else "")
            ids.append([*tokenizer.encode(said, add_special_tokens=False), tokenizer.eos_token_id])
        return ids, None

    trainer._generate_single_turn = single_turn


def rows(cfg, **_):
    """Return a transform of rows with `turns` (JSON) and `answer`."""

    def transform(row):
        text = f"turns: {row['turns']} END"
        return {"prompt": [{"role": "user", "content": text}], "answer": row["answer"]}

    return transform, {"remove_columns": ["turns"]}


def call(name, **arguments):
    """Return the text of a tool call."""
    return CALL.format(name, json.dumps(arguments))


def has_answer(prompts, completions, answer, **_):
    """Return 1.0 if the last assistant turn has the answer."""
    said = [messages[-1]["content"] if messages[-1]["role"] == "assistant" else "" for messages in completions]
    return [float(wanted in text) for wanted, text in zip(answer, said, strict=True)]
