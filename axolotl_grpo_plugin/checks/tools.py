"""Check the tools and the environment that a config names, before its model loads."""

import inspect
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import batch_of
from axolotl_grpo_plugin.config import block, completion_of, context_of, tokens_of
from axolotl_grpo_plugin.environments.guarded import (
    OVER,
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
from axolotl_grpo_plugin.findings import Finding, FindingError, at, first_line, nearest
from axolotl_grpo_plugin.modules import function_at
from axolotl_grpo_plugin.options import refuse_wrong_types
from axolotl_grpo_plugin.stats.tokenizer import AxolotlTokenizer, Tokenizer, open_tokenizer

if TYPE_CHECKING:
    from axolotl_grpo_plugin.environments.seams import Tools

_NO_REWARD = "no reward is named, and the environment has no get_reward"


def check_tools(cfg: Any) -> Iterator[Finding]:
    """Check that tools and environment import, and that the model can be told how to call them."""
    if not uses_tools(cfg):
        for key in ("grpo_tool_args", "grpo_tool_limits", MOST_CALLS, "grpo_environment_args"):
            if cfg.get(key):
                fix = f"Set {TOOLS} or {ENVIRONMENT}, or remove the key"
                yield Finding(at(cfg, key), "the model has no tools", fix)
        return
    yield from _check_others(cfg)
    if not isinstance(cfg.get(TOOLS) or [], list):
        yield Finding(at(cfg, TOOLS), "not a list", 'Put "- " before the path')
    taken: dict[str, str] = {}
    for number, ref in enumerate(tool_refs(cfg)):
        where = at(cfg, f"{TOOLS}[{number}] ({ref.path})")
        tool = _loaded(ref, where)
        if isinstance(tool, Finding):
            yield tool
            continue
        yield from _check_arguments(ref, tool, at(cfg, f"grpo_tool_args ({ref.path})"))
        yield from _check_schema(name_of(tool), described(tool), where, taken)
    for path in block(cfg, "grpo_tool_args"):
        if path not in (paths := [ref.path for ref in tool_refs(cfg)]):
            what = f"{TOOLS} names no such tool"
            yield Finding(at(cfg, f"grpo_tool_args ({path})"), what, nearest(path, paths))
    if environment := environment_ref(cfg):
        yield from _check_environment(cfg, environment, taken)


def _check_others(cfg: Any) -> Iterator[Finding]:
    """Refuse the parts of Axolotl and TRL that do not work with tools."""
    trl = block(cfg, "trl")
    if trl.get("async_prefetch"):
        # core/trainers/grpo/async_trainer.py: `_generate_only` makes no tools, and `_generate_rank0_only`
        # asks vLLM without TRL's loop.
        what = "Axolotl 0.21 prefetches completions without making the tools of their rows"
        yield Finding(at(cfg, "trl.async_prefetch"), what, "Remove it. trl.use_data_producer works")
    if trl.get("rollout_func"):
        what = "a rollout function generates by itself, and TRL would call the tools after it"
        yield Finding(at(cfg, "trl.rollout_func"), what, "Remove it, or the tools")
    if cfg.get("nemo_gym_enabled"):
        what = "NeMo Gym has its own tools"
        yield Finding(at(cfg, "nemo_gym_enabled"), what, "Remove it, or the tools")
    if cfg.get("processor_type"):
        yield Finding(at(cfg, "processor_type"), "tools with images are not tested", "Remove it")
    if "max_tool_calling_iterations" in block(cfg, "grpo_trl_args") and cfg.get(MOST_CALLS):
        where = at(cfg, "grpo_trl_args.max_tool_calling_iterations")
        yield Finding(where, f"{MOST_CALLS} sets this field", "Remove one of the two")


def _loaded(ref: ToolRef, where: str) -> Any:
    if not isinstance(ref.path, str) or "." not in ref.path:
        return Finding(where, "not a path of a function", "Write it as module.function")
    tool = function_at(ref.path, where)
    if isinstance(tool, Finding):
        return tool
    kind = inspect.getattr_static(tool, "__call__", None) if inspect.isclass(tool) else tool
    if not inspect.isfunction(kind) and not hasattr(tool, "reset"):
        return Finding(
            where, "neither a function nor a class", "Name a function, or a class with __call__"
        )
    return tool


def _check_arguments(ref: ToolRef, tool: Any, where: str) -> Iterator[Finding]:
    if not inspect.isclass(tool):
        if ref.arguments:
            what = "a function takes its arguments from the model"
            yield Finding(where, what, "Remove them, or write a class with __init__ and __call__")
        return
    parameters = inspect.signature(tool).parameters
    try:
        inspect.signature(tool).bind(**ref.arguments)
        refuse_wrong_types(tool.__name__, parameters, ref.arguments)
    except TypeError as error:
        yield Finding(
            where, first_line(error), f"Its parameters: {', '.join(parameters) or 'none'}"
        )


def _check_schema(name: str, tool: Any, where: str, taken: dict[str, str]) -> Iterator[Finding]:
    from transformers.utils import get_json_schema

    if name in taken:
        what = f"{taken[name]} is also called {name!r}"
        yield Finding(where, what, "Rename one of the two")
    taken[name] = where
    try:
        get_json_schema(tool)
    except Exception as error:
        what = f"the model cannot be told how to call it: {first_line(error)}"
        fix = "Give each argument a type hint, and a line below `Args:` in the docstring"
        yield Finding(where, what, fix)


def _check_environment(cfg: Any, ref: ToolRef, taken: dict[str, str]) -> Iterator[Finding]:
    where = at(cfg, f"{ENVIRONMENT} ({ref.path})")
    environment = _loaded(ref, where)
    if isinstance(environment, Finding):
        yield environment
        return
    if not inspect.isclass(environment) or not hasattr(environment, "reset"):
        what, fix = "not a class with `reset`", "See axolotl_grpo_plugin.environments.Environment"
        yield Finding(where, what, fix)
        return
    wrong = [*_check_arguments(ref, environment, at(cfg, "grpo_environment_args"))]
    yield from wrong
    if wrong:
        return
    try:
        environment = ref.load()
    except FindingError as error:
        yield error.finding._replace(where=at(cfg, error.finding.where))
        return
    tools = dict(tool_methods(environment))
    if not tools:
        yield Finding(
            where, "no public method is a tool", "Add one with type hints and a docstring"
        )
    for name, method in tools.items():
        yield from _check_schema(name, method, f"{where}.{name}", taken)
    if not block(cfg, "trl").get("reward_funcs") and not hasattr(environment, "get_reward"):
        yield Finding(at(cfg, "trl.reward_funcs"), _NO_REWARD, "Name a reward, or add get_reward")


def check_parallel_tools(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Refuse runs whose ranks generate together. Each rank calls tools in as many turns as its rows need."""
    if not uses_tools(cfg) or ranks < 2:
        return
    trl, vllm = block(cfg, "trl"), block(cfg, "vllm")
    where = ""
    if trl.get("use_vllm") and trl.get("vllm_mode") == "server":
        where, fix = "trl.vllm_mode", "Set trl.vllm_mode: colocate, or train with one process"
    elif trl.get("use_vllm") and (tokens_of(vllm.get("tensor_parallel_size")) or 1) > 1:
        where, fix = "vllm.tensor_parallel_size", "Set it to 1"
    elif not trl.get("use_vllm") and (cfg.get("fsdp_config") or cfg.get("fsdp")):
        where, fix = "fsdp_config", "Use vLLM in colocate mode, or remove it"
    elif not trl.get("use_vllm") and "zero3" in str(cfg.get("deepspeed")):
        where, fix = "deepspeed", "Use vLLM in colocate mode, or ZeRO-2"
    if where:
        what = (
            "the ranks generate together, but TRL 1.14 lets each end its tool calls alone. Their messages "
            "then mix, and the run ends or hangs"
        )
        yield Finding(at(cfg, where), what, fix)


def check_tool_use(cfg: Any, prompt: Any, ranks: int = 1) -> Iterator[Finding]:
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
        what = "the prompts are text, and only chats can have tools"
        yield Finding(at(cfg, "datasets"), what, "Return a list of messages as `prompt`")
        return
    axolotls = AxolotlTokenizer(cfg, open_tokenizer(cfg).folder)
    tokenizer = axolotls.real
    where = at(cfg, "chat_template")
    fix = "Set chat_template_jinja to a template that TRL knows, or name another model (docs/tools.md)"
    if not supports_tool_calling(tokenizer):
        yield Finding(where, "the chat template cannot show tool calls and their answers", fix)
        return
    try:
        own = [getattr(tokenizer, f"response_{each}", None) for each in ("template", "schema")]
        if own == [None, None]:
            tokenizer = add_response_schema(tokenizer)
        if not is_chat_template_prefix_preserving(tokenizer):
            get_training_chat_template(tokenizer)
    except ValueError as error:
        reason = first_line(error).partition(". ")[0]
        yield Finding(where, f"TRL cannot read the tool calls of this template: {reason}", fix)
        return
    yield from _check_budget(cfg, axolotls, prompt)


def _check_budget(cfg: Any, tokenizer: Tokenizer, prompt: Any) -> Iterator[Finding]:
    """Check that the template shows the tools, and that a call with its answer fits into a completion."""
    used = tool_tokens(cfg, tokenizer, prompt)
    if used.hidden:
        what = f"the chat template does not tell the model about {', '.join(used.hidden)}"
        fix = "Set a template that shows tools, or describe them in grpo_system_prompt"
        yield Finding(at(cfg, "chat_template"), what, fix, level="warning")
    most, longest, context = completion_of(cfg), used.call, context_of(cfg)
    where = at(cfg, "trl.max_completion_length")
    if most and most <= longest:
        what = f"{most} tokens cannot hold one tool call and its answer, which need {longest}"
        yield Finding(where, what, f"Raise it above {2 * longest}")
    elif most and most < 2 * longest:
        what = f"{most} tokens leave {most - longest} after one short tool call and its answer"
        yield Finding(where, what, f"Raise it above {2 * longest}", level="warning")
    if most and context and used.prompt + most > context[1]:
        what = (
            f"{context[1]} is less than trl.max_completion_length {most} and a prompt with the "
            f"descriptions of its tools, which has {used.prompt} tokens"
        )
        fix = f"Set it to {used.prompt + most}"
        yield Finding(at(cfg, context[0]), what, fix, level="warning")


def shown_tools(cfg: Any) -> list[dict[str, Any]] | None:
    """Return the descriptions of tools for `Tokenizer.tools`, None without tools that load."""
    faulty = any(finding.level == "error" for finding in check_tools(cfg))
    return schemas_of(cfg) if uses_tools(cfg) and not faulty else None


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


def tool_tokens(cfg: Any, tokenizer: Tokenizer, prompt: Any) -> ToolTokens:
    """Count the tokens that a config's tools take. prompt: a chat."""
    plain, tokenizer.tools = tokenizer.tools, None
    try:
        (without,) = tokenizer.prompts([prompt])
        tokenizer.tools = schemas_of(cfg)
        functions = [schema["function"] for schema in tokenizer.tools]
        text = tokenizer.text(prompt)
        began, *calls = tokenizer.prompts([prompt, *(_with_call(prompt, f) for f in functions)])
    finally:
        tokenizer.tools = plain
    hidden = [each["name"] for each in functions if each["name"] not in text]
    return ToolTokens(began, began - without, max(calls) - began, hidden)


def _with_call(prompt: Any, function: Any) -> Any:
    arguments = dict.fromkeys(function["parameters"]["properties"], "1")
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    turn = {"role": "assistant", "content": "", "tool_calls": [call]}
    return [*prompt, turn, {"role": "tool", "name": function["name"], "content": "1"}]


def check_start(cfg: Any, tools: "Tools", row: dict[str, Any], ranks: int = 1) -> Iterator[Finding]:
    """Make the objects of classes, and begin as many episodes as a rank plays at a time, with a row.

    All later calls would fail as these.
    """
    for number, ref in enumerate(tool_refs(cfg)):
        if inspect.isclass(ref.load()):
            answer = tools.runner.call("", number, {}, "__repr__", name_of(ref.load()))
            if answer.status != "ok":
                where = at(cfg, f"{TOOLS}[{number}] ({ref.path})")
                what, _, fix = answer.error.partition(". ")
                yield Finding(where, f"it cannot be made: {what}", fix or "Correct grpo_tool_args")
    if factory := tools.keyword.get("environment_factory"):
        batch = batch_of(cfg, ranks)
        episodes = max(batch.generated // ranks, batch.evaluates * batch.evaluated) if batch else 1
        for number in range(episodes):
            episode = factory()
            episode.reset(**row)
            if episode._lost:
                reason = episode._over.removeprefix(OVER).strip()
                what, _, fix = f"reset failed on the first row: {reason}".partition(". ")
                what += f" (episode {number + 1} of {episodes} at a time)"
                fix = fix or "Correct it, or grpo_environment_args"
                yield Finding(at(cfg, ENVIRONMENT), what, fix)
                return
        factory._slots = count()  # the run's episodes take over these processes
