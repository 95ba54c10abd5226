"""The YAML keys that this plugin adds to Axolotl's."""

from typing import Literal

from pydantic import BaseModel, Field


class Example(BaseModel):
    """A worked example in GSM8K's form."""

    question: str
    answer: str


class GRPOArgs(BaseModel):
    """Keys of `rl: grpo` and `rl: gdpo` runs; all may be left out."""

    grpo_system_prompt: str | None = Field(
        default=None,
        description="The instructions that the shipped transforms put before a question, in place of their own.",
    )
    grpo_system_in: Literal["user", "system"] | None = Field(
        default=None,
        description="The chat turn that those instructions stand in: above the question in the user's "
        "(the default: small models follow them better there), or a system turn of their own.",
    )
    grpo_examples: list[Example] | None = Field(
        default=None,
        description="Worked examples, each a `question` and an `answer` as in GSM8K (the work, then "
        '"#### 18"), shown as earlier turns of the chat. They give a small model its first rewards.',
    )
    grpo_max_prompt_length: int | None = Field(
        default=None,
        gt=0,
        description="Longest prompt in tokens, chat template included; longer rows are dropped, and "
        "counted. Where the YAML sets vllm.max_model_len or sequence_len, the default is that less "
        "trl.max_completion_length.",
    )
    grpo_cpu_threads: int | None = Field(
        default=None,
        gt=0,
        description="Threads of a training on the CPU, where accelerate sets one.",
    )
    grpo_held_out_rows: int | None = Field(
        default=None,
        gt=0,
        description="How many rows of `test_datasets` the model answers before the first step and after the "
        "last, greedily and sampled. The two are compared in a table, held_out.jsonl and training.png.",
    )
