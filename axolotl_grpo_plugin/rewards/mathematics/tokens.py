r"""Read a short LaTeX answer as tokens.

A token is a number, a run of letters, a word or a sign. Layout has no token: spaces, fonts, colours, sizes,
dollar signs. A command and its synonyms are the same sign: `\dfrac` is `\frac`, "≤" is `\le`. Each function
takes time linear in the text, and none raises.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from axolotl_grpo_plugin.completions import in_ascii

LONGEST = 400  # characters of an answer: longer is prose, and costs time


class Token(NamedTuple):
    r"""A part of an answer.

    Attributes:
        kind: "number" ("12.5"), "time" ("9:30"), "letters" (a run in
            mathematics, such as "xy"), "word" (in `\text{}`, or not in Latin letters), "sign" (any other).
        text: A number without its grouping, "0.1(6)" for a repeating decimal, or the name of a sign.
        spaced: White space is before the token.
    """

    kind: str
    text: str
    spaced: bool = False


# Each line has a sign, then the texts that mean the same.
_SYNONYMS = r"""
\frac \dfrac \tfrac \cfrac
\binom \dbinom \tbinom
\cdot \times \ast * × · ⋅ • ∗
/ \div ÷ ⁄ ∕
\pm ±
\mp ∓
\le \leq \leqslant \leqq <= =< ≤ ⩽ ≦
\ge \geq \geqslant \geqq \geslant >= ≥ ⩾ ≧
\ne \neq != ≠
< \lt
> \gt
\in ∈
\notin ∉
\approx \simeq \doteq ≈
\equiv ≡
\to \rightarrow \longrightarrow →
^ **
\sqrt √
\infty ∞
\emptyset \varnothing \O ∅
\{ \lbrace
\} \rbrace
\langle ⟨
\rangle ⟩
\lfloor ⌊
\rfloor ⌋
\lceil ⌈
\rceil ⌉
| \vert \lvert \rvert
\| \Vert \lVert \rVert
\cup \bigcup ∪
\cap \bigcap ∩
\lor \vee ∨
\land \wedge ∧
\setminus \backslash \smallsetminus ∖
\mathbb{R} \R ℝ
\mathbb{Z} ℤ
\mathbb{N} ℕ
\mathbb{Q} ℚ
\mathbb{C} ℂ
\pi π
\theta \vartheta θ
\alpha α
\beta β
\gamma γ
\delta δ
\epsilon \varepsilon ε
\eta η
\kappa κ
\lambda λ
\mu μ µ
\nu ν
\xi ξ
\rho \varrho ρ
\sigma σ
\tau τ
\phi \varphi φ
\chi χ
\psi ψ
\omega ω
\Gamma Γ
\Delta Δ
\Theta Θ
\Lambda Λ
\Sigma Σ
\Phi Φ
\Psi Ψ
\Omega Ω Ω
\hbar \hslash ℏ
\ell ℓ
° \degree \degrees \textdegree º ˚
' \prime ′ ’
'' ″
% \%
& \&
\ldots \dots \cdots \dotsc \dotsb ... … ⋯
\angle \measuredangle ∠
\triangle △
\overline \bar
\pmod \pod
\bmod \mod
\$ \dollar
€ \euro \texteuro
£ \pounds \textsterling
¥ \yen ￥
"""
_SAME = {}
for _line in _SYNONYMS.strip().splitlines():
    _sign, *_others = _line.split()
    _SAME.update(dict.fromkeys(_others, _sign))

# Characters that stand for several tokens.
_LONGER = {"℃": "°C", "℉": "°F"}
for _index, _digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹"):
    _LONGER[_digit] = f"^{{{_index}}}"
for _index, _digit in enumerate("₀₁₂₃₄₅₆₇₈₉"):
    _LONGER[_digit] = f"_{{{_index}}}"
for _fraction in "½12 ⅓13 ⅔23 ¼14 ¾34 ⅕15 ⅖25 ⅗35 ⅘45 ⅙16 ⅚56 ⅛18 ⅜38 ⅝58 ⅞78".split():
    _LONGER[_fraction[0]] = rf"\frac{{{_fraction[1]}}}{{{_fraction[2]}}}"
_LONGER_ONES = str.maketrans(_LONGER)

# Commands without a meaning.
_LAYOUT = frozenset(
    r"""
    $ \( \) \[ \] \! \left \right \middle \left. \right. \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr
    \biggl \biggr \Biggl \Biggr \displaystyle \textstyle \scriptstyle \limits \nolimits \large \Large \LARGE
    \huge \Huge \small \normalsize \bf \rm \it \tt \sf \bfseries \mathbf \mathit \mathcal \mathscr \mathfrak
    \mathsf \mathtt \boldsymbol \bm \pmb \boxed \fbox \underline \mathop \mathord \ensuremath \nonumber
    \hat \vec \widehat \overrightarrow
    """.split()
)
# Commands without a meaning, and their argument.
_DROPPED = frozenset({r"\color", r"\phantom", r"\hphantom", r"\vphantom", r"\label", r"\textcolor"})
# Commands whose argument is text.
_TEXT = frozenset(
    r"""
    \text \textbf \textit \textrm \textnormal \textsf \texttt \textup \emph \mbox \hbox \mathrm \operatorname
    """.split()
)

_SPACE = (
    r"(?:[\s~]|\\[ ,;:>]|\\(?:q?quad|enspace|thinspace)(?![a-zA-Z])|\\[hv]space\*?\s*\{[^{}]*\})"
)
_REPEATED = r"\\(?:overline|bar|dot)\s*(?:\{[0-9]{1,30}\}|[0-9])"
# A comma groups three digits only outside brackets, a space only if no other digit follows.
_COMMAS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])"
_SPACES = rf"[0-9]{{1,3}}(?:(?:\{{,\}}|,?\\!\s*|{_SPACE})[0-9]{{3}})+(?![0-9/]|{_SPACE}[0-9])"
_CJK = (
    "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts without a space between words and letters
)
_LEXEMES = rf"""
(?P<space>(?:{_SPACE}|\\!)+)
(?P<row>\\\\(?:\s*\[[^\]]*\])?|\\(?:cr|newline)(?![a-zA-Z]))
(?P<time>(?<![0-9.:])[0-9]{{1,2}}(?:(?::|\{{:\}}|\\!:\\!)[0-9]{{2}}){{1,2}}(?![0-9:.]))
(?P<number>(?:(?<![0-9.,])(?:{_COMMAS}|{_SPACES})|[0-9]+)(?:(?:\.|\{{\.\}})(?:[0-9]+|(?={_REPEATED}))(?:{_REPEATED})?)?)
(?P<decimals>\.(?:[0-9]+(?:{_REPEATED})?|{_REPEATED}))
(?P<half>(?<![a-zA-Z\\])[apAP]\.\s?[mM]\b\.?)
(?P<command>\\(?:left|right)\s*\.|\\[a-zA-Z]+)
(?P<letters>[a-zA-Z]+)
(?P<word>[{_CJK}]+|[^\W\d_]+)
(?P<sign>\\.|\{{[:.,;]\}}|\.\.\.|<=|>=|=<|!=|\*\*|''|.)
"""
_OUTSIDE = re.compile("|".join(_LEXEMES.strip().splitlines()), re.DOTALL)
_INSIDE = re.compile("|".join(_LEXEMES.replace(f"{_COMMAS}|", "").strip().splitlines()), re.DOTALL)
_WORD = re.compile(rf"[^\W\d_{_CJK}]+(?:[-'’][^\W\d_{_CJK}]+)*")
_BLACKBOARD = re.compile(r"\s*(?:\{\s*([A-Z])\s*\}|([A-Z])(?![a-zA-Z]))")
_ROOT_OF_DIGITS = re.compile(r"√\s*([0-9]+)")
_SQUARED_UNIT = re.compile(r"(?<![a-zA-Z])([cdkm]?m|ft|in|yd|mi)([²³])")
# A text that went through JSON twice: "\\\\frac".
_ESCAPED_TWICE = re.compile(
    r"\\\\(?=(?:[dt]?frac|left|right|sqrt|text|leq?|geq?|neq?|cdot|times|pi|infty|in|cup|pm)(?![a-zA-Z]))"
)
# "\\cosx" has lost its space.
_JOINED = re.compile(r"(\\(?:arc)?(?:sin|cos|tan|log|ln|sec|csc|cot|pi))(?!h$)([a-zA-Z]{1,2})")
_ARGUMENT = re.compile(r"\s*\{")
_OPENING = frozenset({"(", "[", r"\{"})
_CLOSING = frozenset({")", "]", r"\}"})


def tokens(text: str, is_list: bool = False) -> list[Token]:
    r"""Return the tokens of a text.

    Args:
        text: An answer, or a sentence of a question.
        is_list: A comma never groups three digits.

    >>> [token.text for token in tokens(r"\left(\dfrac{1{,}000}{3}\,\text{ cm}\right)")]
    ['(', '\\frac', '{', '1000', '}', '{', '3', '}', 'cm', ')']
    """
    text = in_ascii(text)
    if not text.isascii():
        text = _ROOT_OF_DIGITS.sub(r"\\sqrt{\1}", _SQUARED_UNIT.sub(r"\\text{ \1}\2", text))
        text = text.translate(_LONGER_ONES)
    if r"\\" in text and r"\begin" not in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
    return list(_lexed(text, is_list, False))


def _lexed(text: str, is_list: bool, in_text: bool) -> Iterator[Token]:
    at = 0
    depth = 0
    spaced = False
    while at < len(text):
        lexer = _INSIDE if depth or is_list else _OUTSIDE
        match = lexer.match(text, at)
        assert match is not None  # "." matches any character
        at = match.end()
        kind = match.lastgroup or ""
        written = match[0]

        if kind == "number":
            yield Token("number", _number(written), spaced)
            spaced = False
            continue

        if kind == "space":
            # "\!" moves its neighbours together.
            spaced = spaced or bool(written.replace(r"\!", ""))
            if (
                written.count("\n")
                and text[at : at + 1].isdigit()
                and text[match.start() - 1].isdigit()
            ):
                yield Token("sign", r"\\")
            continue

        if kind == "command":
            sign = _SAME.get(written, written)
            if sign in _TEXT or sign in _DROPPED:
                argument, at = _argument(text, at)
                if sign in _TEXT:
                    inner = [*_lexed(argument, is_list, True)]
                    if inner:
                        is_first_spaced = spaced or inner[0].spaced
                        yield inner[0]._replace(spaced=is_first_spaced)
                        yield from inner[1:]
                    spaced = argument.endswith(" ")
                continue
            if joined := _JOINED.fullmatch(sign):
                yield Token("sign", joined[1], spaced)
                yield Token("letters", joined[2])
                spaced = False
                continue
            if sign in (r"\imath", r"\jmath"):
                yield Token("letters", sign[1], spaced)
                spaced = False
                continue
            if sign in (r"\mathbb", r"\Bbb", r"\mathbf"):
                name = _BLACKBOARD.match(text, at)
                letter = (name[1] or name[2]) if name else ""
                if letter and (sign != r"\mathbf" or letter == "R"):
                    at = name.end() if name else at
                    yield Token("sign", rf"\mathbb{{{letter}}}", spaced)
                    spaced = False
                    continue
            written = re.sub(r"\s", "", sign)
            kind = "sign"
        elif kind == "sign":
            written = written[1] if written[0] == "{" and written[-1] == "}" else written
            written = _SAME.get(written, written)
            depth += (written in _OPENING) - (written in _CLOSING and depth > 0)

        if kind == "sign" and written in _LAYOUT:
            continue
        if kind == "row":
            yield Token("sign", r"\\", spaced)
        elif kind == "decimals":
            yield Token("number", _number(written), spaced)
        elif kind == "time":
            yield Token(kind, re.sub(r"[{}\\!]", "", written), spaced)
        elif kind == "half":
            yield Token("word", f"{written[0].lower()}m", spaced)
        elif kind == "letters" and in_text:
            word = _WORD.match(text, match.start())
            written = word[0] if word else written
            at = match.start() + len(written)
            yield Token("word", written, spaced)
        elif kind == "word" and _SAME.get(written):
            yield Token("sign", _SAME[written], spaced)
        else:
            yield Token(kind, written, spaced)
        spaced = False


def _argument(text: str, at: int) -> tuple[str, int]:
    """Return the argument of a command, and the index of its end. Braces are counted."""
    opening = _ARGUMENT.match(text, at)
    if not opening:
        return text[at : at + 1], at + 1
    depth = 1
    start = end = opening.end()
    while end < len(text) and depth:
        if text[end] == "\\":
            end += 1
        else:
            depth += (text[end] == "{") - (text[end] == "}")
        end += 1
    return text[start : end - (depth == 0)], end


def _number(written: str) -> str:
    r"""Return a number without its grouping: "1{,}234" is "1234", and "0.1\\overline{6}" is "0.1(6)"."""
    if written.isdecimal():
        return written
    once, bar, repeated = re.sub(r"\\(?:overline|bar|dot)", "(", written).partition("(")
    digits = re.sub("[^0-9.]", "", once)
    return f"{digits}({re.sub('[^0-9]', '', repeated)})" if bar else digits
