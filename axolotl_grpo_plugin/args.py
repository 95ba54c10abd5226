"""The YAML keys that this plugin adds to Axolotl's."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Example(BaseModel):
    """A worked example in GSM8K's form."""

    question: str
    answer: str


class Columns(BaseModel, extra="forbid"):
    """Names of a dataset's columns."""

    question: str = "question"
    answer: str = "answer"


class ToolLimits(BaseModel, extra="forbid"):
    """Limits of one call of a tool."""

    seconds: float = Field(default=10.0, gt=0)
    memory: float = Field(default=4.0, gt=0)
    characters: int = Field(default=8000, gt=0, le=32_000)


class GRPOArgs(BaseModel):
    """Keys for `rl: grpo` and `rl: gdpo` runs. All are optional."""

    grpo_system_prompt: str | None = Field(
        default=None,
        description="Instructions that the shipped transforms put before each question. They replace "
        "the transform's own instructions.",
    )
    grpo_system_in: Literal["user", "system"] | None = Field(
        default=None,
        description="Chat turn for these instructions. The default is `user`, above the question, because "
        "small models follow them better there. `system` gives them a turn of their own.",
    )
    grpo_examples: list[Example] | None = Field(
        default=None,
        description="Worked examples, shown as earlier turns of the chat. Each has a `question` and an "
        '`answer` as in GSM8K (the work, then "#### 18"). They help a small model to earn its first rewards.',
    )
    grpo_prompt_template: str | None = Field(
        default=None,
        description="Text around the question, for base models: `{question}` stands for the question. The shipped "
        "transforms then make prompts of text, which no chat template changes, instead of chat messages.",
    )
    grpo_columns: Columns | None = Field(
        default=None,
        description="Columns that `type: axolotl_grpo_plugin.qa` reads: `{question: q, answer: a}`. The "
        "default names are `question` and `answer`.",
    )
    grpo_max_prompt_length: int | None = Field(
        default=None,
        gt=0,
        description="Maximum prompt length in tokens, including the chat template. Longer rows are dropped "
        "and counted. The default is vllm.max_model_len or sequence_len, if the YAML sets one, minus "
        "trl.max_completion_length.",
    )
    grpo_cpu_threads: int | None = Field(
        default=None,
        gt=0,
        description="Number of threads for training on a CPU. The default is OMP_NUM_THREADS, else 1.",
    )
    grpo_held_out_rows: int | None = Field(
        default=None,
        gt=0,
        description="Number of `test_datasets` rows that the model answers before and after training, both "
        "greedily and sampled. A table, held_out.jsonl and training.png compare the answers.",
    )
    grpo_show_steps: int | None = Field(
        default=None,
        ge=0,
        description="Print a prompt group every so many steps, and add it to the table `samples` of W&B or "
        "Trackio. The default is 25. 0 shows none.",
    )
    grpo_eval_steps: int | None = Field(
        default=None,
        gt=0,
        description="Also answer the held-out rows every so many steps. The tracker gets the means and the "
        "shares of right answers. Needs grpo_held_out_rows.",
    )
    grpo_reward_args: dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="Parameters of reward functions, factories and classes: the path in trl.reward_funcs, "
        "then names and values. Write `path#alias` to use one function twice.",
    )
    grpo_reward_isolation: (
        Literal["process", "inline"] | dict[str, Literal["process", "inline"]] | None
    ) = Field(
        default=None,
        description="Process that runs the reward functions: `process` (a worker that can be killed) or `inline` "
        "(the trainer). Set one value for all, or one per path in trl.reward_funcs. The default "
        "is `inline` for rewards that declare it, such as the GSM8K ones, and `process` for all others.",
    )
    grpo_reward_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Maximum CPU time for scoring one completion in a worker process, in seconds. The default "
        "is 10. A completion that needs more gets the lowest score. If scoring takes five times as "
        "long in wall time, the score counts as failed.",
    )
    grpo_reward_batch_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Maximum time for scoring a batch, in seconds. The reward functions share it equally. The "
        "default is a quarter of ddp_timeout, or 450 if that is unset. It is the only limit for "
        "functions that score a whole batch.",
    )
    grpo_reward_memory: float | None = Field(
        default=None,
        gt=0,
        description="Maximum memory of a worker process, in GiB. The default is 4.",
    )
    grpo_reward_error_limit: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of a reward function's scores that may fail within 20 steps. The default is 0.05. "
        "The run also stops if half of one batch fails. 1.0 never stops a run.",
    )
    grpo_stall_timeout: float | None = Field(
        default=None,
        ge=0,
        description="End the run if no step, generation, scoring or save has ended for so many seconds "
        "(docs/troubleshooting.md). The default is 1500, or 10 times the longest such time so far, whichever is "
        "longer. 0 never ends a run.",
    )
    grpo_trl_args: dict[str, Any] | None = Field(
        default=None,
        description="Fields of TRL's GRPOConfig that no key of Axolotl sets, such as `num_generations_eval`, "
        "`top_entropy_quantile`, `generation_kwargs`, `chat_template_kwargs` and `shuffle_dataset`.",
    )
    grpo_rollouts: bool | str | None = Field(
        default=None,
        description="Write every rollout as Parquet, with its scores and reasons. `true` writes to "
        "output_dir/rollouts. A path writes to that folder.",
    )
    grpo_trim_padding: bool | None = Field(
        default=None,
        description="Cut each micro-batch to its own longest completion, and put completions of like length together. "
        "The gradient stays that of TRL (docs/speed.md). The default is true.",
    )
    grpo_skip_zero_advantage: bool | None = Field(
        default=None,
        description="Leave out completions that have no gradient, because their advantage is 0 or they are masked "
        "(docs/speed.md). The default is true, except under ZeRO-3 and FSDP.",
    )
    grpo_dynamic_sampling: bool | None = Field(
        default=None,
        description="Replace prompt groups whose completions all have the same score by groups of other "
        "prompts, before the step (docs/sampling.md).",
    )
    grpo_dynamic_sampling_rounds: int | None = Field(
        default=None,
        gt=0,
        description="Maximum number of extra rounds of generation per batch. The default is 3. Each generates "
        "as many completions as the batch has.",
    )
    grpo_dynamic_sampling_reward: str | None = Field(
        default=None,
        description="Path of the reward function whose scores are compared. The default is the first of "
        "trl.reward_funcs, which should say what is right.",
    )
    grpo_tools: list[str] | None = Field(
        default=None,
        description="Paths of the functions and classes that the model may call as tools (docs/tools.md).",
    )
    grpo_tool_args: dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="Parameters of tools that are classes: the path in grpo_tools, then names and values.",
    )
    grpo_tool_limits: ToolLimits | None = Field(
        default=None,
        description="Limits of one call of a tool: `seconds` of wall time (10), `memory` in GiB (4), and "
        "`characters` of its answer (8000).",
    )
    grpo_max_tool_calls: int | None = Field(
        default=None,
        gt=0,
        description="Maximum number of turns with tool calls per completion. The default is no limit except "
        "trl.max_completion_length.",
    )
    grpo_environment: str | None = Field(
        default=None,
        description="Path of a class with `reset` and tools, as TRL's environment_factory takes. Each "
        "completion plays one episode with it.",
    )
    grpo_environment_args: dict[str, Any] | None = Field(
        default=None,
        description="Parameters of grpo_environment: names and values.",
    )
