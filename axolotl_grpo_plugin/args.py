"""The YAML keys that this plugin adds to Axolotl's."""

from typing import Any, Literal

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
    grpo_reward_args: dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="Parameters of reward functions: the string in trl.reward_funcs, then name and value. "
        "Factories and classes get theirs so too. `path#alias` lets one function stand twice.",
    )
    grpo_reward_isolation: (
        Literal["process", "inline"] | dict[str, Literal["process", "inline"]] | None
    ) = Field(
        default=None,
        description="Where rewards run: in processes that can be killed, or in the trainer's own. For all, "
        "or by the string in trl.reward_funcs. The default is a process for each that does not declare "
        "itself linear-time and total, as the shipped ones do.",
    )
    grpo_reward_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of CPU time that scoring one completion may take in a process (10). A "
        "completion that takes longer gets the lowest score. After five times as many seconds by "
        "the clock, the score counts as failed.",
    )
    grpo_reward_batch_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that scoring a batch may take, shared equally by the reward functions "
        "(a quarter of ddp_timeout, that is 450). A function of a whole batch is limited by its share.",
    )
    grpo_reward_memory: float | None = Field(
        default=None, gt=0, description="GiB that a scoring process may use (4)."
    )
    grpo_reward_error_limit: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The share of a reward's scores that may fail over 20 steps (0.05). Half of one batch "
        "ends the run at once. 1.0 never does.",
    )
    grpo_rollouts: bool | str | None = Field(
        default=None,
        description="Write every rollout, with what it earned and why, as Parquet: true for "
        "output_dir/rollouts, or a folder.",
    )
