"""The YAML keys that this plugin adds to Axolotl's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class Example(BaseModel):
    """A worked example in GSM8K's form."""

    question: str
    answer: str


class Columns(BaseModel, extra="forbid"):
    """Names of a dataset's columns."""

    question: str | None = None
    answer: str | None = None
    options: str | None = None


class GRPOToolLimits(BaseModel, extra="forbid"):
    """Limits of one call of a tool."""

    seconds: PositiveFloat = 10.0
    memory: PositiveFloat = 4.0
    characters: int = Field(8000, gt=0, le=32_000)


class GRPOArgs(BaseModel, use_attribute_docstrings=True):
    """Keys for `rl: grpo` and `rl: gdpo` runs. All are optional."""

    grpo_system_prompt: str | None = None
    """Instructions that the shipped transforms put before each question. They replace the
    transform's own instructions.
    """

    grpo_system_in: Literal["user", "system"] | None = None
    """Chat turn for these instructions: `user` (the default, above the question) or `system`."""

    grpo_examples: list[Example] | None = None
    """Worked examples, shown as earlier turns of the chat. Each has a `question` and an `answer`
    as in GSM8K (the work, then "#### 18").
    """

    grpo_prompt_template: str | None = None
    """Text around the question, for base models: `{question}` stands for the question. The prompts are
    then text, which no chat template changes.
    """

    grpo_columns: Columns | None = None
    """Columns that `type: axolotl_grpo_plugin.qa` reads: `{question: q, answer: a}`.
    `type: axolotl_grpo_plugin.choice` also reads `options`.
    """

    grpo_shuffle_options: NonNegativeInt | None = None
    """Seed by which `type: axolotl_grpo_plugin.choice` shuffles the options of each row. By default
    they keep their order.
    """

    grpo_max_prompt_length: PositiveInt | None = None
    """Maximum prompt length in tokens, including the chat template. Longer rows are dropped and
    counted. The default is vllm.max_model_len or sequence_len, if the YAML sets one, minus
    trl.max_completion_length.
    """

    grpo_cpu_threads: PositiveInt | None = None
    """Number of threads for training on a CPU. The default is OMP_NUM_THREADS, else 1."""

    grpo_held_out_rows: PositiveInt | None = None
    """Number of `test_datasets` rows that the model answers before and after training, both
    greedily and sampled. A table and held_out/scores.parquet compare the answers.
    """

    grpo_show_steps: NonNegativeInt | None = None
    """Print a prompt group every N steps. The default is 25. 0 shows none.
    """

    grpo_eval_steps: PositiveInt | None = None
    """Also answer the held-out rows every N steps. The tracker gets the means and the shares of
    right answers. Needs grpo_held_out_rows.
    """

    grpo_keep_best: bool | None = None
    """Keep the model of the step with the most right answers to the held-out rows, greedy and then sampled, in
    output_dir/best. Needs grpo_eval_steps (docs/evaluation.md).
    """

    grpo_stop_at: float | None = Field(None, gt=0, le=1)
    """End the run when this share of the held-out rows is right, answered greedily, after a step of grpo_eval_steps:
    `0.9`. The first reward function needs a range (its own, or in grpo_reward_range).
    """

    grpo_reward_args: dict[str, dict[str, Any]] | None = None
    """Parameters of reward functions, factories and classes: the path in trl.reward_funcs, then
    names and values. Write `path#alias` to use one function twice.
    """

    grpo_reward_range: (
        dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None
    ) = None
    """Lowest and highest score of reward functions that declare none, such as TRL's: the path in
    trl.reward_funcs, then `[0.0, 1.0]`. The highest score of the first reward means that an answer is right. A score
    outside the range counts as failed.
    """

    grpo_reward_isolation: (
        Literal["process", "inline"] | dict[str, Literal["process", "inline"]] | None
    ) = None
    """Process that runs the reward functions: `process` (a worker that can be killed) or `inline`
    (the trainer). Set one value for all, or one per path in trl.reward_funcs. The default is
    `inline` for rewards that declare it, such as the GSM8K ones, and `process` for all others.
    """

    grpo_reward_timeout: PositiveFloat | None = None
    """Maximum CPU time for scoring one completion in a worker process, in seconds (10). A completion that
    needs more gets the lowest score (docs/scoring.md).
    """

    grpo_reward_batch_timeout: PositiveFloat | None = None
    """Maximum time for scoring a batch, in seconds, the only limit for functions that score a whole batch. The
    default is a quarter of ddp_timeout, or 450. The reward functions share it equally.
    """

    grpo_reward_memory: PositiveFloat | None = None
    """Maximum memory of a worker process, in GiB. The default is 4."""

    grpo_reward_error_limit: float | None = Field(None, ge=0, le=1)
    """Share of a reward function's scores that may fail within 20 steps. The default is 0.05. The
    run also stops if half of one batch fails. 1.0 never stops a run.
    """

    grpo_stall_timeout: NonNegativeFloat | None = None
    """End the run if no step, generation, scoring or save has ended for this number of seconds
    (docs/troubleshooting.md). The default is 1500, or 10 times the longest such time so far,
    whichever is longer. 0 never ends a run.
    """

    grpo_max_logprob_difference: NonNegativeFloat | None = None
    """End the run if vLLM's and the trainer's log-probabilities differ by more nats per token in five logged
    steps in a row. The default is 1.0. 0 never ends a run (docs/scoring.md).
    """

    grpo_trl_args: dict[str, Any] | None = None
    """Fields of TRL's GRPOConfig that no key of Axolotl sets, such as `num_generations_eval`,
    `top_entropy_quantile`, `generation_kwargs`, `chat_template_kwargs` and `shuffle_dataset`.
    `generation_kwargs: {stop: ["</answer>"]}` ends completions after that text, also in `eval` and `passrate`
    (docs/troubleshooting.md).
    """

    grpo_rollouts: bool | str | None = None
    """Folder for every rollout as Parquet. The default is output_dir/rollouts. `false` writes none
    (docs/scoring.md).
    """

    grpo_hub_files: list[str] | None = None
    """Files of output_dir that `hub_model_id` uploads beside the model, its card and its picture, as
    patterns: `[run.yaml, "rollouts/*"]`.
    """

    grpo_advantage: Literal["rloo", "maxrl"] | None = None
    """Advantage of a completion in its prompt group, in place of TRL's `scale_rewards`: `rloo` (the reward minus the
    mean of the others) or `maxrl` (the reward minus the mean, divided by the mean). docs/variants.md compares them.
    """

    grpo_packed_step: bool | None = None
    """Compute TRL's gradient from real tokens only (docs/speed.md). The default is true. `false` trains by TRL's own
    step.
    """

    grpo_tokens_per_pass: PositiveInt | None = None
    """Maximum tokens of a training pass, prompts included, in place of micro_batch_size. One row with more tokens has
    a pass of its own. The default is the tokens of TRL's pass with its padding (docs/speed.md).
    """

    grpo_dynamic_sampling: bool | None = None
    """Replace prompt groups whose completions all have the same score by groups of other prompts,
    before the step (docs/sampling.md).
    """

    grpo_dynamic_sampling_rounds: PositiveInt | None = None
    """Maximum number of extra rounds of generation per batch. The default is 3."""

    grpo_dynamic_sampling_reward: str | None = None
    """Path of the reward function whose scores are compared. The default is the first of
    trl.reward_funcs.
    """

    grpo_tools: list[str] | None = None
    """Paths of the functions and classes that the model may call as tools (docs/tools.md)."""

    grpo_tool_args: dict[str, dict[str, Any]] | None = None
    """Parameters of tools that are classes: the path in grpo_tools, then names and values."""

    grpo_tool_limits: GRPOToolLimits | None = None
    """Limits of one call of a tool: `seconds` of wall time (10), `memory` in GiB (4), and
    `characters` of its answer (8000).
    """

    grpo_max_tool_calls: PositiveInt | None = None
    """Maximum number of turns with tool calls per completion. The default is no limit except
    trl.max_completion_length.
    """

    grpo_environment: str | None = None
    """Path of a class with `reset` and tools, as TRL's environment_factory takes. Each completion
    plays one episode with it.
    """

    grpo_environment_args: dict[str, Any] | None = None
    """Parameters of grpo_environment: names and values."""
