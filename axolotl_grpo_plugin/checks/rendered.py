"""Check rendered prompts: no turn is lost, there is one BOS token, and the marks of thinking are known."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from axolotl_grpo_plugin.data.tokenizer import Prompt, Tokenizer
from axolotl_grpo_plugin.findings import Findings, fault, warning
from axolotl_grpo_plugin.thinking import FAMILIES, HARMONY, THINKING_KEYS, after_thinking

MOST_SHAPES = 20  # kinds of prompts that are rendered for one dataset
# Texts that no template has.
_ASKED = "\N{WHITE QUESTION MARK ORNAMENT}"
_THOUGHT = "\N{THOUGHT BALLOON}"
_ANSWERED = "\N{WHITE HEAVY CHECK MARK}"


class PromptShapes:
    """The prompts of a dataset that differ in the roles of their turns, one of each kind.

    Attributes:
        prompts: The first prompt of each kind, with the number of its row.
    """

    def __init__(self) -> None:
        self.prompts: list[tuple[int, Prompt]] = []
        self._known: set[object] = set()

    def add(self, number: int, row: Mapping[str, Any]) -> None:
        """Add the prompt of a row, if it is the first of its kind."""
        prompt = row.get("prompt")
        if len(self.prompts) < MOST_SHAPES and isinstance(prompt, str | list):
            shape = _shape_of(prompt)
            if shape not in self._known:
                self._known.add(shape)
                self.prompts.append((number, prompt))


def _shape_of(prompt: Prompt) -> object:
    if isinstance(prompt, str):
        return "text"
    return tuple(
        (turn.get("role"), *_thinking_in(turn)) for turn in prompt if isinstance(turn, dict)
    )


def _thinking_in(turn: Mapping[str, Any]) -> list[bool]:
    keys = [bool(turn.get(key)) for key in THINKING_KEYS]
    return [*keys, any(after_thinking(text) != text for text in _texts_of(turn))]


def check_rendered(
    tokenizer: Tokenizer, name: str, prompts: Iterable[tuple[int | None, Prompt]]
) -> Findings:
    """Check prompts of one dataset as the model sees them.

    Args:
        tokenizer: Of the config.
        name: The dataset's name.
        prompts: Each with the number of its row, None if it is not known.
    """
    told: set[tuple[str, str]] = set()
    for number, prompt in prompts:
        try:
            text = prompt if isinstance(prompt, str) else tokenizer.text(prompt)
        except Exception:  # a template may raise any error, which the count of the prompts names
            continue
        where = name if number is None else f"{name}, row {number}"
        findings = [*_check_bos(tokenizer, prompt, text, where)]
        if not isinstance(prompt, str):
            findings += _check_turns(tokenizer, prompt, text, where)
        for finding in findings:
            # One kind of turn may be lost in all kinds of prompts.
            key = (finding.code, finding.what.partition(":")[0])
            if key not in told:
                told.add(key)
                yield finding


def _texts_of(turn: Mapping[str, Any]) -> list[str]:
    """Return the texts in the content of a turn."""
    content = turn.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _squeezed(text: str) -> str:
    """Return a text with single spaces, because templates trim turns."""
    return " ".join(text.split())


def _check_turns(
    tokenizer: Tokenizer, prompt: list[Any], rendered: str, where: str
) -> Iterator[Any]:
    """Check that the text of each turn is in the rendered prompt, as often as turns have it."""
    shown = _squeezed(rendered)
    texts = [_squeezed(text) for turn in prompt for text in _texts_of(turn)]
    has = Counter({text: sum(text in other for other in texts) for text in set(texts)})
    for place, turn in enumerate(prompt):
        role = turn.get("role")
        thinking = [turn[key] for key in THINKING_KEYS if isinstance(turn.get(key), str)]
        for text in map(_squeezed, _texts_of(turn)):
            if not text or shown.count(text) >= has[text]:
                continue
            answer = _squeezed(after_thinking(text))
            if role == "assistant" and answer != text and answer in shown:
                thinking.append(text)
                continue
            fix = "Write its text to a turn of the user, or set another chat_template"
            if role == "system":
                fix = "Remove grpo_system_in: system, write its text to a turn of the user, or set another chat_template"
            yield fault(
                "dropped-turn",
                where,
                f"the chat template ({tokenizer.template_source}) drops the {role} turn (number {place + 1}): "
                f"{text!r:.80} is not in the prompt",
                fix,
            )
        if any(_squeezed(text) and _squeezed(text) not in shown for text in thinking):
            yield warning(
                "dropped-thinking",
                where,
                f"the chat template ({tokenizer.template_source}) drops the thinking of an earlier answer (number "
                f"{place + 1}): the prompt shows only its end, so the example teaches not to think",
                "Write the thinking of examples without marks, or set a chat_template that keeps it",
            )


def _check_bos(tokenizer: Tokenizer, prompt: Prompt, text: str, where: str) -> Findings:
    """Check that the prompt begins with one BOS token, if the tokenizer begins texts with one."""
    bos = tokenizer.bos
    if bos is None:
        return
    (ids,) = tokenizer.ids([text], special=isinstance(prompt, str))
    if ids[:2] == [bos, bos]:
        fix = "Remove the first BOS token from the chat template"
        if isinstance(prompt, str):
            fix = "Remove it from the text, because TRL adds one, or let the transform make chat messages"
        yield fault("two-bos", where, "the prompt begins with two BOS tokens", fix)
    (alone,) = tokenizer.ids(["x"], special=True)
    if alone[:1] == [bos] and ids[:1] != [bos]:
        yield warning(
            "no-bos",
            where,
            "the prompt begins without the BOS token with which this tokenizer begins texts",
            "Write {{ bos_token }} at the start of the chat template",
        )


def check_marks(tokenizer: Tokenizer) -> Findings:
    """Check that the rewards know the marks of thinking that the chat template writes, and that they see them."""
    marks = template_marks(tokenizer)
    if marks is None:
        return
    opening, closing = marks
    where = f"chat template ({tokenizer.template_source})"
    known = [family for family in FAMILIES if family.opening.strip() in opening]
    if not known:
        yield warning(
            "unknown-thinking",
            where,
            f"it writes thinking between {opening.strip()[-40:]!r} and {closing.strip()[:40]!r}, which the rewards "
            "do not know, so they read thinking as a part of the answer",
            "Use rewards of your own that leave it out, or report the model",
        )
        return
    # gpt-oss can be read without its special tokens.
    if known[-1] is not HARMONY and known[-1].closing not in tokenizer.visible(
        f"x{known[-1].closing}x"
    ):
        yield warning(
            "lost-marks",
            where,
            f"the mark {known[-1].closing!r} is a special token, which TRL removes from completions, so the rewards "
            "read thinking as a part of the answer",
            "Switch thinking off in grpo_trl_args: chat_template_kwargs, or ask for the answer in <answer> tags",
        )


def template_marks(tokenizer: Tokenizer) -> tuple[str, str] | None:
    """Return the texts that a chat template writes before and after thinking, None if it shows none."""
    answer = {"role": "assistant", "content": _ANSWERED, **dict.fromkeys(THINKING_KEYS, _THOUGHT)}
    try:
        text = tokenizer.text(
            [{"role": "user", "content": _ASKED}, answer], generation_prompt=False
        )
    except Exception:  # no template, or one that refuses such a chat
        return None
    _, _, after_question = text.partition(_ASKED)
    before, thought, after = after_question.partition(_THOUGHT)
    closing, answered, _ = after.partition(_ANSWERED)
    return (before, closing) if thought and answered else None
