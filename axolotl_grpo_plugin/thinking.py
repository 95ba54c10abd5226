"""Know how a model thinks: the marks around its thinking, and the answer after them.

All rewards, the rollout log and the viewer read thinking by this module. A model family has its own marks, and a chat
template may open the thinking at the end of the prompt. A completion whose thinking never closes has no answer. Each
function takes time linear in the text.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Marks(NamedTuple):
    """The marks around the thinking of some model families.

    Attributes:
        opening: The text that begins the thinking.
        closing: The text that ends it.
        models: The families, for the documentation.
    """

    opening: str
    closing: str
    models: str


THINK = Marks(
    "<think>", "</think>", "Qwen3, DeepSeek-R1, GLM, SmolLM3, Nemotron, Phi-4-reasoning, MiniMax"
)
# The layout of GSM8K's prompt. Its answer is in a tag, which may follow without the closing mark.
REASONING = Marks("<reasoning>", "</reasoning>", "the layout of `type: gsm8k` and `type: qa`")
HARMONY = Marks("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "gpt-oss")
GEMMA = Marks("<|channel>thought", "<channel|>", "Gemma 4")
FAMILIES = (
    THINK,
    REASONING,
    Marks("<thinking>", "</thinking>", "prompts after Claude's"),
    Marks("<thought>", "</thought>", "EXAONE Deep"),
    Marks("[THINK]", "[/THINK]", "Magistral"),
    Marks("<seed:think>", "</seed:think>", "Seed-OSS"),
    Marks("<|START_THINKING|>", "<|END_THINKING|>", "Command A"),
    Marks("◁think▷", "◁/think▷", "Kimi-VL"),
    Marks("<|inner_prefix|>", "<|inner_suffix|>", "Apertus"),
    Marks("Here is my thought process:", "Here is my response:", "Granite 3.2"),
    GEMMA,
    HARMONY,
)
# The keys under which TRL and chat templates keep the thinking of a message.
THINKING_KEYS = ("reasoning_content", "thinking", "reasoning")

# TRL removes special tokens, and leaves of gpt-oss' channels "analysisWe need ...assistantfinalIt is 72".
_BARE_HARMONY = re.compile(r"\s*analysis(?=[^\s:;.,)])")
_BARE_FINAL = "assistantfinal"
_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>(?!final)\w+")
_FINAL = re.compile(r"<\|channel\|>final(?:(?!<\|message\|>)[^\n]){0,99}<\|message\|>")
# Most texts have none of these marks, and need no look at each family.
_OPENINGS = tuple(marks.opening for marks in FAMILIES if marks is not REASONING)
_ANY_END = re.compile(
    "|".join(re.escape(end) for end in [*(marks.closing for marks in FAMILIES), _BARE_FINAL])
    + r"|<\|channel\|>final"
)
# Marks around an answer of gpt-oss and of Command A.
_AROUND = re.compile(r"<\|(?:START|END)_RESPONSE\|>|<\|(?:return|end)\|>")


def after_thinking(text: str) -> str:
    """Return the text after the last closing mark, or all of it without such a mark."""
    rest = _rest(text)
    return _AROUND.sub("", rest) if "<|" in rest else rest


def _rest(text: str) -> str:
    """Return the end of a text that begins after the last closing mark."""
    if not _ANY_END.search(text):
        return text
    for marks in FAMILIES:
        if marks is HARMONY:
            text = _after_channels(text)
        else:
            text = text.rpartition(marks.closing)[2]
    return text


def _after_channels(text: str) -> str:
    """Return the last message of gpt-oss' final channel, or all of the text without one."""
    start = text.rfind("<|channel|>final")
    final = _FINAL.match(text, start) if start >= 0 else None
    if final:
        return text[final.end() :]
    if _BARE_HARMONY.match(text):
        return text.rpartition(_BARE_FINAL)[2]
    return text


def thinking_of(text: str) -> str:
    """Return the text before the last closing mark without the marks around it, "" without such a mark.

    The opening mark may be missing, because a prompt may have it.
    """
    thinking = text[: len(text) - len(_rest(text))]
    thinking = _FINAL.sub("", thinking).removesuffix(_BARE_FINAL)
    for marks in FAMILIES:
        thinking = thinking.removesuffix(marks.closing)
        thinking = thinking.partition(marks.opening)[2] or thinking
    return thinking


def is_open(text: str) -> bool:
    """Return whether a completion begins to think after its last closing mark, and never closes that.

    A `<reasoning>` block does not count, because an answer may be read in its tag (`find_answer`).
    """
    start = text.lstrip()
    rest = _rest(text).lstrip()
    begins = start.startswith(_OPENINGS) or rest.startswith(_OPENINGS)
    for marks in FAMILIES if begins else ():
        if marks is REASONING:
            continue
        # Another family's closing mark does not close it.
        never_closed = start.startswith(marks.opening) and marks.closing not in start
        if rest.startswith(marks.opening) or (never_closed and marks is not HARMONY):
            return True
    return bool(_CHANNEL.match(rest) or _BARE_HARMONY.match(rest))


def opened_by(prompt: str) -> str:
    """Return the opening mark in which a rendered prompt ends, "" if it does not end in one."""
    end = prompt.rstrip()
    if not end.endswith(_OPENINGS):
        return ""
    for marks in FAMILIES:
        if marks is not REASONING and end.endswith(marks.opening):
            return marks.opening
    return ""


def ends_in_empty_thinking(prompt: str) -> bool:
    """Return whether a rendered prompt ends in thinking that is closed already, so that the model does not think."""
    end = prompt.rstrip()
    for marks in FAMILIES:
        head = end.removesuffix(marks.closing)
        if head != end and head.rstrip().endswith(marks.opening):
            return True
    return False


def closing_of(opening: str) -> str:
    """Return the closing mark that belongs to an opening mark, "" if it is unknown."""
    return next((marks.closing for marks in FAMILIES if marks.opening == opening), "")


def with_opening(text: str, opening: object) -> str:
    """Return a completion with the mark before it that its prompt has opened, if there is one."""
    return f"{opening}\n{text}" if opening else text


def with_closing(text: str, opening: object, thinking: str) -> str:
    """Return a completion that thinks first, if its prompt has opened the thinking and the text never closes it."""
    closing = closing_of(str(opening or ""))
    if not closing or closing in text:
        return text
    return f"{thinking}\n{closing}\n{text}"


def text_of_message(message: Mapping[str, Any], content: str) -> str:
    """Return the text of an assistant's message with its thinking before it, in `<think>` marks.

    With tools, TRL moves the thinking out of the content. A message with thinking alone was cut off.

    Args:
        message: The message.
        content: The text of its content.
    """
    thinking = next((message[key] for key in THINKING_KEYS if message.get(key)), "")
    if not isinstance(thinking, str) or not thinking.strip():
        return content
    opened = f"{THINK.opening}\n{thinking.strip()}\n"
    if not content.strip() and not message.get("tool_calls"):
        return opened
    return f"{opened}{THINK.closing}\n{content}"
