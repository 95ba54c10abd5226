"""Check the tools and the environment that a config names, before its model loads."""

import inspect
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import batch_of
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Row
from axolotl_grpo_plugin.data.tokenizer import (
    AxolotlTokenizer,
    Chat,
    Prompt,
    Tokenizer,
    open_tokenizer,
)
from axolotl_grpo_plugin.environments.guarded import (
    OVER,
    Tool,
    described,
    name_of,
    schemas_of,
    tool_methods,
)
from axolotl_grpo_plugin.environments.names import (
    ENVIRONMENT,
    MOST_CALLS,
    TOOLS,
    environment_ref,
    tool_refs,
    uses_tools,
)
from axolotl_grpo_plugin.environments.server import ToolRef
from axolotl_grpo_plugin.findings import Finding, Findings, fault, first_line, nearest, warning
from axolotl_grpo_plugin.load import function_at
from axolotl_grpo_plugin.reward import check_options
from axolotl_grpo_plugin.serving.placement import mode_of

if TYPE_CHECKING:
    from axolotl_grpo_plugin.environments.run_tools import Tools

# Keys without an effect unless the model has tools.
ONLY_WITH_TOOLS = ("grpo_tool_args", "grpo_tool_limits", MOST_CALLS, "grpo_environment_args")
# Parts of Axolotl and TRL that do not work with tools, and why.
REFUSED = {
    # core/trainers/grpo/async_trainer.py: `_generate_only` makes no tools, and `_generate_rank0_only`
    # asks vLLM without TRL's loop.
    "trl.async_prefetch": "Axolotl 0.21 prefetches completions without making the tools of their rows "
    "(trl.use_data_producer works)",
    "trl.rollout_func": "a rollout function generates by itself, and TRL would call the tools after it",
    "nemo_gym_enabled": "NeMo Gym has its own tools",
    "processor_type": "tools with images are not tested",
}


def check_tools(cfg: Config) -> Findings:
    """Check that tools and environment import, and that the model can be told how to call them."""
    written = cfg.value_at(TOOLS)  # as it is written: the typed view has a list
    if written and not isinstance(written, list):
        yield fault("no-list", TOOLS, "not a list", 'Put "- " before the path')
    elif not uses_tools(cfg):
        for key in ONLY_WITH_TOOLS:
            if cfg.value_at(key):
                yield fault(
                    "no-tools",
                    key,
                    "the model has no tools",
                    f"Set {TOOLS} or {ENVIRONMENT}, or remove the key",
                )
        return
    for key, what in REFUSED.items():
        if cfg.value_at(key):
            yield fault("not-with-tools", key, what, "Remove it, or the tools")
    field = cfg.value_at("grpo_trl_args.max_tool_calling_iterations")
    if field is not None and cfg.value_at(MOST_CALLS):
        yield fault(
            "set-twice",
            "grpo_trl_args.max_tool_calling_iterations",
            f"{MOST_CALLS} sets this field",
            "Remove one of the two",
        )
    taken: dict[str, str] = {}
    paths = []
    for number, ref in enumerate(tool_refs(cfg)):
        paths.append(ref.path)
        where = f"{TOOLS}[{number}] ({ref.path})"
        tool = _loaded(ref, where)
        if isinstance(tool, Finding):
            yield tool
        else:
            yield from _check_arguments(ref, tool, f"grpo_tool_args ({ref.path})")
            yield from _check_schema(name_of(tool), described(tool), where, taken)
    for path in cfg.grpo_tool_args:
        if path not in paths:
            yield fault(
                "unknown-tool",
                f"grpo_tool_args ({path})",
                f"{TOOLS} names no such tool",
                nearest(path, paths),
            )
    if environment := environment_ref(cfg):
        yield from _check_environment(cfg, environment, taken)


def _loaded(ref: ToolRef, where: str) -> Tool | Finding:
    if not isinstance(ref.path, str) or "." not in ref.path:
        return fault("no-path", where, "not a path of a function", "Write it as module.function")
    tool = function_at(ref.path, where)
    if isinstance(tool, Finding) or hasattr(tool, "reset"):
        return tool
    called = inspect.getattr_static(tool, "__call__", None) if inspect.isclass(tool) else tool
    if inspect.isfunction(called):
        return tool
    return fault(
        "no-function",
        where,
        "neither a function nor a class",
        "Name a function, or a class with __call__",
    )


def _check_arguments(ref: ToolRef, tool: Tool, where: str) -> Findings:
    if inspect.isclass(tool):
        signature = inspect.signature(tool)
        try:
            signature.bind(**ref.arguments)
            check_options(tool.__name__, signature.parameters, ref.arguments)
        except TypeError as error:
            yield fault(
                "wrong-arguments",
                where,
                first_line(error),
                f"Its parameters: {', '.join(signature.parameters) or 'none'}",
            )
    elif ref.arguments:
        yield fault(
            "wrong-arguments",
            where,
            "a function takes its arguments from the model",
            "Remove them, or write a class with __init__ and __call__",
        )


def _check_schema(name: str, tool: Tool, where: str, taken: dict[str, str]) -> Findings:
    """Check that a tool has a name of its own and a schema. taken: places of the names before it."""
    from transformers.utils import get_json_schema

    if name in taken:
        yield fault(
            "same-name", where, f"{taken[name]} is also called {name!r}", "Rename one of the two"
        )
    taken[name] = where
    try:
        get_json_schema(tool)
    except Exception as error:
        yield fault(
            "no-schema",
            where,
            f"the model cannot be told how to call it: {first_line(error)}",
            "Give each argument a type hint, and a line below `Args:` in the docstring",
        )


def _check_environment(cfg: Config, ref: ToolRef, taken: dict[str, str]) -> Findings:
    where = f"{ENVIRONMENT} ({ref.path})"
    environment = _loaded(ref, where)
    if isinstance(environment, Finding):
        yield environment
        return
    if not inspect.isclass(environment) or not hasattr(environment, "reset"):
        yield fault(
            "no-environment",
            where,
            "not a class with `reset`",
            "See axolotl_grpo_plugin.environments.Environment",
        )
        return
    if wrong := list(_check_arguments(ref, environment, "grpo_environment_args")):
        yield from wrong
        return
    tools = dict(tool_methods(environment))
    if not tools:
        yield fault(
            "no-tools",
            where,
            "no public method is a tool",
            "Add one with type hints and a docstring",
        )
    for name, method in tools.items():
        yield from _check_schema(name, method, f"{where}.{name}", taken)
    if not cfg.trl.reward_funcs and not hasattr(environment, "get_reward"):
        yield fault(
            "no-reward",
            "trl.reward_funcs",
            "no reward is named, and the environment has no get_reward",
            "Name a reward, or add get_reward",
        )


def check_parallel_tools(cfg: Config, ranks: int) -> Findings:
    """Refuse runs whose ranks generate together. Each rank calls tools in as many turns as its rows need."""
    if not uses_tools(cfg) or ranks < 2:
        return
    mode = mode_of(cfg)
    if mode == "server":
        where, fix = "trl.vllm_mode", "Set trl.vllm_mode: colocate, or train with one process"
    elif mode == "colocate":
        where, fix = "vllm.tensor_parallel_size", "Set it to 1"
        if (cfg.vllm.tensor_parallel_size or 1) == 1:
            return
    elif cfg.fsdp_config or cfg.fsdp:
        where, fix = "fsdp_config", "Use vLLM in colocate mode, or remove it"
    elif "zero3" in str(cfg.deepspeed):
        where, fix = "deepspeed", "Use vLLM in colocate mode, or ZeRO-2"
    else:
        return
    yield fault(
        "tools-on-ranks",
        where,
        "the ranks generate together, but TRL 1.14 lets each end its tool calls alone. Their messages "
        "then mix, and the run ends or hangs",
        fix,
    )


def check_tool_use(cfg: Config, prompt: Prompt, ranks: int = 1) -> Findings:
    """Check with the real tokenizer that prompts, tools, calls and answers can be written and read.

    prompt: of a row, as TRL gets it.
    """
    from trl.chat_template_utils import (
        add_response_schema,
        get_training_chat_template,
        is_chat_template_prefix_preserving,
        supports_tool_calling,
    )

    yield from check_parallel_tools(cfg, ranks)
    if isinstance(prompt, str):
        yield fault(
            "text-prompts",
            "datasets",
            "the prompts are text, and only chats can have tools",
            "Return a list of messages as `prompt`",
        )
        return
    axolotls = AxolotlTokenizer(cfg, open_tokenizer(cfg).folder)
    tokenizer = axolotls.real
    what = ""
    try:
        # A tokenizer that has one of these says itself how its calls are read.
        own = getattr(tokenizer, "response_template", None)
        if not supports_tool_calling(tokenizer):
            what = "the chat template cannot show tool calls and their answers"
        elif own is None and getattr(tokenizer, "response_schema", None) is None:
            tokenizer = add_response_schema(tokenizer)
        if not what and not is_chat_template_prefix_preserving(tokenizer):
            get_training_chat_template(tokenizer)
    except ValueError as error:
        what = f"TRL cannot read the tool calls of this template: {first_line(error)}"
    if what:
        yield fault(
            "template-without-tools",
            "chat_template",
            what,
            "Set chat_template_jinja to a template that TRL knows, or name another model (docs/tools.md)",
        )
    else:
        yield from _check_budget(cfg, axolotls, prompt)


def _check_budget(cfg: Config, tokenizer: Tokenizer, prompt: Chat) -> Findings:
    """Check that the template shows the tools, and that a call with its answer fits into a completion."""
    used = tool_tokens(cfg, tokenizer, prompt)
    if used.hidden:
        yield warning(
            "hidden-tools",
            "chat_template",
            f"the chat template does not tell the model about {', '.join(used.hidden)}",
            "Set a template that shows tools, or describe them in grpo_system_prompt",
        )
    most = cfg.trl.max_completion_length
    if most and most <= used.call:
        yield fault(
            "no-room-for-calls",
            "trl.max_completion_length",
            f"{most} tokens cannot hold one tool call and its answer, which need {used.call}",
            f"Raise it above {2 * used.call}",
        )


def shown_tools(cfg: Config) -> list[Row] | None:
    """Return the descriptions of tools for `Tokenizer.tools`, None without tools that load."""
    if not uses_tools(cfg) or any(check_tools(cfg)):
        return None
    return schemas_of(cfg)


class ToolTokens(NamedTuple):
    """Tokens that tools take.

    prompt: of a prompt with the tools' descriptions, of which descriptions are so many. call: of the longest
    short call with an answer of one character, and of the next turn's opening. hidden: tools that the
    template does not show.
    """

    prompt: int
    descriptions: int
    call: int
    hidden: list[str]


def tool_tokens(cfg: Config, tokenizer: Tokenizer, prompt: Chat) -> ToolTokens:
    """Count the tokens that a config's tools take. prompt: a chat."""
    before, tokenizer.tools = tokenizer.tools, None
    try:
        (without,) = tokenizer.prompts([prompt])
        tokenizer.tools = schemas_of(cfg)
        text = tokenizer.text(prompt)
        prompts, hidden = [prompt], []
        for schema in tokenizer.tools:
            function = schema["function"]
            prompts.append(_with_call(prompt, function))
            if function["name"] not in text:
                hidden.append(function["name"])
        began, *calls = tokenizer.prompts(prompts)
    finally:
        tokenizer.tools = before
    return ToolTokens(began, began - without, max(calls) - began, hidden)


def _with_call(prompt: Chat, function: Any) -> Chat:
    name = function["name"]
    arguments = dict.fromkeys(function["parameters"]["properties"], "1")
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    turn = {"role": "assistant", "content": "", "tool_calls": [call]}
    return [*prompt, turn, {"role": "tool", "name": name, "content": "1"}]


def check_start(cfg: Config, tools: "Tools", row: Row, ranks: int = 1) -> Findings:
    """Make the objects of classes, and begin as many episodes as a rank plays at a time, with a row.

    All later calls would fail as these.
    """
    for number, ref in enumerate(tool_refs(cfg)):
        tool = ref.load()
        if inspect.isclass(tool):
            answer = tools.runner.call("", number, {}, "__repr__", name_of(tool))
            if answer.status != "ok":
                yield fault(
                    "tool-not-made",
                    f"{TOOLS}[{number}] ({ref.path})",
                    f"it cannot be made: {answer.error}",
                    "Correct grpo_tool_args",
                )
    factory = tools.keyword.get("environment_factory")
    if not factory:
        return
    batch = batch_of(cfg, ranks)
    episodes = max(batch.generated // ranks, batch.evaluated) if batch else 1
    for number in range(1, episodes + 1):
        episode = factory()
        episode.reset(**row)
        if episode._lost:
            yield fault(
                "no-reset",
                ENVIRONMENT,
                f"episode {number} of {episodes} at a time: reset failed on the first row: "
                f"{episode._over.removeprefix(OVER).strip()}",
                "Correct it, or grpo_environment_args",
            )
            return
    factory._slots = count()  # the run's episodes take over these processes
