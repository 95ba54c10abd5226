"""Find brackets and signs in the tokens of an answer. Brackets are matched by counting."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise

from axolotl_grpo_plugin.rewards.mathematics.tokens import Token

Tokens = Sequence[Token]

END = Token("sign", "")
OPENING = {"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil", r"\begin"}
CLOSING = {")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\end"}
_ENDINGS = {".", ",", ";", r"\\", "!."}


def trimmed(written: Tokens) -> Tokens:
    """Return tokens without the punctuation around them."""
    start, end = 0, len(written)
    while end > start and written[end - 1].text in _ENDINGS:
        end -= 1
    while start < end and written[start].text in (",", ";", r"\\"):
        start += 1
    return written[start:end]


def closing(written: Tokens, start: int) -> int:
    r"""Return the index of the token that closes the bracket at `start`, or -1. "\end{...}" counts to its brace."""
    if start >= len(written) or written[start].text not in OPENING:
        return -1
    depth = 0
    for index in range(start, len(written)):
        text = written[index].text
        if text in OPENING:
            depth += 1
        elif text in CLOSING:
            depth -= 1
            if depth == 0 and text != r"\end":
                return index
            if depth == 0:
                # The name of the environment and its brace, which a text that was cut off does not have.
                is_whole = [token.text for token in written[index + 3 : index + 4]] == ["}"]
                return index + 3 if is_whole else -1
    return -1


def after_begin(written: Tokens, start: int) -> int:
    r"""Return the index after "\begin{array}{cc}"."""
    end = start + 4
    if written[start + 2].text == "array" and end < len(written) and written[end].text == "{":
        end = closing(written, end) + 1 or end
    return end


def top_level(part: Tokens, signs: AbstractSet[str]) -> list[int]:
    """Return the indices of signs outside brackets."""
    depth = 0
    indices = []
    for index, token in enumerate(part):
        if token.kind != "sign":
            continue
        if token.text in OPENING:
            depth += 1
        elif token.text in CLOSING:
            depth -= 1
        elif depth <= 0 and token.text in signs:
            indices.append(index)
    return indices


def pieces(written: Tokens, signs: AbstractSet[str]) -> list[Tokens]:
    """Return the tokens between signs outside brackets."""
    bounds = [-1, *top_level(written, signs), len(written)]
    return [written[start + 1 : end] for start, end in pairwise(bounds)]
