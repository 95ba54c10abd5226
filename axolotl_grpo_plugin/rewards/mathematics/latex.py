r"""Bring a short LaTeX answer into a normal form.

`normal` removes layout, units and names, so that most equal answers become equal strings. It takes
at most `LONGEST` characters. Nothing here raises, whatever the text.
"""

import re
from functools import lru_cache

from axolotl_grpo_plugin.completions import read_number

LONGEST = 400  # characters of an answer: longer is prose, and costs time

_UNICODE = r"""
π=\pi θ=\theta √=\sqrt ∞=\infty ∅=\emptyset ×=\times ·=\cdot ⋅=\cdot ±=\pm ≤=\le ≥=\ge
≠=\ne ∪=\cup ∩=\cap ∈=\in ÷=/ ⁄=/ º=° ℝ=\mathbb{R} ½=\frac{1}{2} ⅓=\frac{1}{3} ⅔=\frac{2}{3}
¼=\frac{1}{4} ¾=\frac{3}{4} ²=^{2} ³=^{3} ⁴=^{4} ⁵=^{5} ⁶=^{6} ⁷=^{7} ⁸=^{8} ⁹=^{9} €= £= ¢=
"""
_CHARACTERS = dict(zip("\u2212\u2013\u00a0\u2009\u202f", "--   ", strict=True))
for _pair in _UNICODE.split():
    # A space ends the name of a command: \pi.
    _CHARACTERS[_pair[0]] = f"{_pair[2:]} " if _pair[-1].isalpha() else _pair[2:]
_TRANSLATION = str.maketrans(_CHARACTERS)

_FAMILY = (
    r"\\(?:text|textbf|textit|textrm|textnormal|textsf|mathrm|mathbf|mathit|mathsf|boldsymbol|mbox"
    r"|underline|operatorname|textcolor\{[a-z]*\})\s*"
)
_ROW = "\ue000"  # private use: no text has a meaning for it

# In the tables below, each line is a pattern and its replacement, applied from top to bottom. FAMILY is
# a command for a font, "\>" the end of a command, "␣" a space, NAME "x" or "f(x)", and BOUND a number.
_RAW = r"""
[ \t]{2,} => ␣
# A row of a matrix ends in two backslashes, which the rules for "\ " and "\," must not split.
\\\\(?:\[[0-9.a-z ]*\])?|\\cr\> => ROW
(?<![a-zA-Z])([cdkm]?m|ft|in|yd|mi)[²³] => \\text{␣\1}
√\s*([0-9]+) => \\sqrt{\1}
"""
_LAYOUT = r"""
# A single letter in math mode is a variable in whatever font: "3+2\mathrm{i}".
\\(?:mathrm|text|mathbf|mathit|boldsymbol)\s*\{([abceijknpqrtxyz])\} => \1
\\\$ => $
(?<=[0-9])[ \t]*\n\s*(?=[0-9]) => ;
(?<=[0-9])(?:\{,\}|,?\\! *|\\,)(?=[0-9]{3}(?![0-9])) =>
\\[,;: ]|~|\\q?quad\>|\\(?:hspace\{[^{}]*\}|phantom\s*(?:\{[^{}]*\}|[^\s{\\])) => ␣
(?<=[0-9])\^\{?\s*(?:FAMILY\{\s*)?(?:st|nd|rd|th)\s*\}{0,2} =>
\\(?:left|right|displaystyle|limits|[bB]igg?[lr]?|large|Large|bf|rm|it)\>|\\[!()\[\]]|\$ =>
\s*(?:\\?%|(?<![a-zA-Z])(?:per ?cent(?:age)?|pct)\>) => %
\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degrees?\>|\^o\> => °
(?i)^\s*(?:FAMILY\{)?\s*(?:(?:there (?:is|are) )?no(?: real| integer)? (?:solutions?|roots?)(?: exists?)?\.?|(?:the )?empty set)\s*\}?$ => \\emptyset
(?i)^\s*(?:FAMILY\{)?\s*all real(?:s| numbers)\s*\}?$ => \\mathbb{R}
\\[dtc]frac\> => \\frac
(?i:option|choice)\s+(?=\(?[A-Z]\)?[\s}]*$) =>
^([0-9]+)\s*(?:FAMILY\{)?\s*to\s+\}?\s*([0-9]+)$ => \1:\2
\\frac\s+([0-9])\s+([0-9]) => \\frac{\1}{\2}
# "1/3\approx 0.33" is 1/3, and "x\approx 11" is 11.
^([a-zA-Z])\s*\\approx\> => \1=
^\s*\\approx\> =>
(=[^=]*)\\approx.* => \1
\\equiv\> => =
\\exp\s*(?:\{([^{}]*)\}|\(([^()]*)\)) => e^{\1\2}
\\pmod\s*(?:\{[^{}]*\}|[0-9]) =>
\\[dt]binom\> => \\binom
\\(?:leqslant|leqq?)\>|<=|=< => \\le␣
\\(?:geqslant|geqq?)\>|>= => \\ge␣
\\lt\> => <
\\gt\> => >
\\neq\>|!=|\\not\s*= => \\ne␣
\\not\s*\\in\> => \\notin␣
\\lbrace\> => \\{
\\rbrace\> => \\}
\\(?:bar|dot)(?=\{) => \\overline
[(\[]\s*\\begin\{array\}\s*\{[clr|]*\} => \\begin{pmatrix}
\\end\{array\}\s*[)\]] => \\end{pmatrix}
(?<=[,(\[])\s*\+\s*\\infty => \\infty
(?<=[0-9a-zA-Z)}])\*\*(?=[0-9a-zA-Z({-]) => ^
\\(?:times|ast)\>|\*+ => \\cdot␣
\\div\> => /
\\(?:varnothing|O)\> => \\emptyset␣
\\(begin|end)\{(?:[bB]|small|)matrix\} => \\\1{pmatrix}
\\(?:mathbb|mathbf|Bbb)\s*\{?R\}?|\\R\> => \\mathbb{R}
(?<![a-zA-Z\\])pi\> => \\pi␣
(?<![a-zA-Z\\])sqrt(?=[({]) => \\sqrt
(?<![a-zA-Z\\])infinity\> => \\infty␣
\\(sin|cos|tan)\s*\^\s*\{-1\} => \\arc\1␣
# \mathrm{cm^2} -> \text{cm}^{2}
FAMILY\{(\s*(?:[a-zA-Z]{2,8}|m|[a-z]{1,3}/[a-z]{1,3})\s*)\^\{?([23])\}?\s*\} => \\text{\1}^{\2}
\{((?:[^{}\\]|\\(?!over\>))*)\\over\>\s*((?:[^{}\\]|\\(?!over\>))*)\} => \\frac{\1}{\2}
\\langle\> => (
\\rangle\> => )
# "\{x \mid x>2\}" is the inequality x>2. An equation stays, because it is not solved.
^\\\{\s*([a-zA-Z])(?:\s*\\in\s*\\mathbb\{R\})?\s*(?:\\mid\>|\||:)((?:[^={}\\]|\\[a-zA-Z]|\{[^{}]*\})*)\\\}$ => \2
# "-5/2 x" is -5/2 times x.
(?<![0-9/.}a-zA-Z^])([0-9]+)/([0-9]+)(?=\s+(?:\\pi|[a-z])\>) => \\frac{\1}{\2}
"""
_ARGUMENTS = r"""
# One space stays if it means something: "17 1/2" is not 171/2, and "\pi r" not "\pir".
(\\[a-zA-Z]+(?=\s+[a-zA-Z])|[0-9](?=\s+[0-9]))(\s)\s*|\s+ => \1\2
\^([0-9]+|[a-zA-Z]|\\(?:pi|theta|infty)\>) => ^{\1}
\\sqrt\(([^()]*)\) => \\sqrt{\1}
\\sqrt([0-9a-zA-Z]) => \\sqrt{\1}
\\frac([0-9a-zA-Z]|\\pi\>) => \\frac{\1}
(\\frac\{(?:[^{}]|\{[^{}]*\})*\})([0-9a-zA-Z]|\\pi\>) => \1{\2}
# math-verify reads "\sin^2 t" with braces only.
(\\(?:sin|cos|tan|cot|sec|csc|ln|log)\>(?:\^\{[0-9]\})?) ?([a-zA-Z])(?![a-zA-Z(^_]) => \1{\2}
_\{([0-9a-zA-Z])\} => _\1
^([0-9]+):([1-9])$ => \1/\2
# An inequality for one name is the interval of its values: "1\le x<2" is x=[1,2).
^NAME<(BOUND)$ => \1=(-\\infty,\2)
^(BOUND)<NAME$ => \2=(\1,\\infty)
^(BOUND)<NAME<(BOUND)$ => \2=(\1,\3)
^(BOUND)<NAME\\le ?(BOUND)$ => \2=(\1,\3]
^NAME\\le ?(BOUND)$ => \1=(-\\infty,\2]
^(BOUND)\\le ?NAME$ => \2=[\1,\\infty)
^(BOUND)\\le ?NAME<(BOUND)$ => \2=[\1,\3)
^(BOUND)\\le ?NAME\\le ?(BOUND)$ => \2=[\1,\3]
^NAME>(BOUND)$ => \1=(\2,\\infty)
^(BOUND)>NAME$ => \2=(-\\infty,\1)
^(BOUND)>NAME>(BOUND)$ => \2=(\3,\1)
^(BOUND)>NAME\\ge ?(BOUND)$ => \2=[\3,\1)
^NAME\\ge ?(BOUND)$ => \1=[\2,\\infty)
^(BOUND)\\ge ?NAME$ => \2=(-\\infty,\1]
^(BOUND)\\ge ?NAME>(BOUND)$ => \2=(\3,\1]
^(BOUND)\\ge ?NAME\\ge ?(BOUND)$ => \2=[\3,\1]
# The numbers without some of them are a pair: "x\ne2" is (\mathbb{R},\{2\}).
^NAME\\ne ?\\pm ?(BOUND)$ => \1=(\\mathbb{R},\\{\2,-(\2)\\})
^NAME\\ne ?(BOUND)$ => \1=(\\mathbb{R},\\{\2\\})
^\\mathbb\{R\}(?:\\(?:setminus|backslash)|-)(\\\{[^{}]*\\\})$ => (\\mathbb{R},\1)
"""
_LISTED = r"""
^\(-\\infty,(BOUND)\)(?:,|\\cup)\(\1,\\infty\)$ => (\\mathbb{R},\\{\1\\})
^\((BOUND),\\infty\)(?:,|\\cup)\(-\\infty,\1\)$ => (\\mathbb{R},\\{\1\\})
^\(-\\infty,(BOUND)\)(?:,|\\cup)\(\1,(BOUND)\)(?:,|\\cup)\(\2,\\infty\)$ => (\\mathbb{R},\\{\1,\2\\})
^([(\[]BOUND,\\infty\)),(\(-\\infty,BOUND[)\]])$ => \2,\1
# "x\ne0, x\ne1" and "x\ne0,1"
\\\}\),\(\\mathbb\{R\},\\\{ => ,
^(\(\\mathbb\{R\},\\\{[^{}]*)\\\}\)((?:,[-0-9./]+)+)$ => \1\2\\})
"""

_INTEGER = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)")
_WORDS = re.compile(_FAMILY + r"\{([^{}]*)\}")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_SPACED_DIGITS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9/]| [0-9])")
_TWO_NUMBERS = re.compile(r"(?<![_^0-9])([0-9]+) +(?=[0-9]+(?![0-9/]))")  # not "1 1/2"
_EITHER = re.compile(r"(?:,\s*)?(?<![a-zA-Z\\])(?:or|and)(?![a-zA-Z])")
# "18 men" has a unit and "18x" a variable: a short word is a unit only if it is one of these.
_SQUARED = r"(?:\^\{?-?[123]\}?)"
_SHORT_UNIT = re.compile(
    r"(?<![a-zA-Z\\])(?:[a-zA-Z]{1,3}/(?:hr?|s|min)|[cdkmn]m|[km]g|[cm][lL]|ft|in|yd|mi|lbs?|oz|hrs?|mph|an?|of)"
    rf"{_SQUARED}?(?![a-zA-Z])|°\s*[CFK]?(?![a-zA-Z])"
)
_VARIABLE = re.compile(r"[0-9.][a-zA-Z](?![a-zA-Z]{4})|(?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])")
_UNIT_AT_END = re.compile(
    rf"(?<=[0-9}}i)])\s*(?:(?:{_FAMILY}\{{[^{{}}]*\}}{_SQUARED}?(?:\s|/|\\cdot)*)+|[cdkm]m{_SQUARED}?)$"
)
_BARE_UNIT = re.compile(r"(?<=[0-9}])\s+((?!true|false|never|none)(?=[a-z]*[aeiou])[a-zA-Z]{4,})$")
_HALF_OF_DAY = re.compile(r"\s*[ap]\.?m\.?\s*", re.IGNORECASE)
_POWER_OF_WORD = re.compile(rf"(?<=[a-zA-Z}}]){_SQUARED}")
# Names: "x", "AB", "\theta", "x_1", "f(2)", "f^{-1}(x)", "(x,y)", "\angle ABC", "\frac{NO}{BO}".
_FUNCTION = re.compile(r"(?<![a-zA-Z])([a-zA-Z])(?:\^\{-1\})?'*\([^()]*\)")
_INDEX = re.compile(r"_(?:[0-9a-zA-Z]|\{[^{}]*\})")
_NO_NAME = re.compile(
    r"[0-9+\-<>]|\\(?:le|ge|ne|neg|not|notin|sim|approx|pm|cdot|int|sum)(?![a-zA-Z])"
    r"|(?:not|wrong|never|false)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\(?([A-Z])\)")
_MIXED = re.compile(
    r"^([+-]?)([0-9]{1,30})(?: ([0-9]{1,30})/([0-9]{1,30})|\\frac\{([0-9]{1,30})\}\{([0-9]{1,30})\})(?=%?$)"
)
_REPEATING = re.compile(r"([0-9]{0,30})\.([0-9]{0,30})\\overline\{([0-9]{1,30})\}")
_BRACES = re.compile(r"\\\{((?:[^{}]|\{[^{}]*\})*)\\\}|\{((?:[^{}]|\{[^{}]*\})*)\}", re.DOTALL)


_MEANINGS = {
    "FAMILY": _FAMILY,
    "NAME": r"([a-zA-Z]|[fg]\([a-z]\))",
    "BOUND": r"(?:[^a-zA-Z<>=,;\\]|\\(?!le|ge|ne|in)[a-zA-Z]+|\\infty)+",
    r"\>": "(?![a-zA-Z])",
}


def _compiled(table: str) -> list[tuple[re.Pattern[str], str]]:
    rules = []
    for line in table.strip().splitlines():
        pattern, arrow, replacement = line.partition(" =>")
        for name, meaning in _MEANINGS.items():
            pattern = pattern.replace(name, meaning)
        replacement = replacement.strip(" ").replace("ROW", _ROW).replace("␣", " ")
        if arrow:
            rules.append((re.compile(pattern), replacement))
    return rules


_RULES = {table: _compiled(table) for table in (_RAW, _LAYOUT, _ARGUMENTS, _LISTED)}


def _replaced(text: str, table: str) -> str:
    for pattern, replacement in _RULES[table]:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=65536)
def normal(text: str, named: bool = False) -> str:
    r"""Return an answer in a normal form: equal answers mostly become equal strings.

    Layout, `\text{}`, units after a number, degrees, dollar signs and the braces of a set are
    removed. `\dfrac` becomes `\frac`, `x²` becomes `x^{2}`, "1{,}234" and "1,234" become "1234",
    "or" and "and" become a comma, "1 1/2" becomes "3/2". Parts of a list are joined by ",".
    named: keep the left side of "x = 5", which is removed otherwise.

    >>> normal(r"x = 18\,\text{cm}^2"), normal("120, 180"), normal(r"33 1/3\%")
    ('18', '120,180', '100/3%')
    """
    if _INTEGER.fullmatch(text):
        digits = text.replace(",", "").lstrip("-0")
        return f"-{digits}" if digits and text.startswith("-") else digits or "0"
    text = layout(text).rstrip(" .,;")
    text = f"{text[:-2]}}}" if text.endswith(".}") else text
    if not re.search(r"[(\[]|\\\{|\}\{", text):
        text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    text = _SPACED_DIGITS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _without_braces(_EITHER.sub(",", _WORDS.sub(_word_between, text)))
    listed = [_part(part.strip()) for part in split(_TWO_NUMBERS.sub(r"\1;", text))]
    if not named:
        values = [_unnamed(part) for part in listed]
        if len(values) == 1:
            # In a list, the braces keep the sets apart.
            values = [_without_braces(values[0])]
        listed = listed if any("=" in value for value in values) else values
    text = _replaced(",".join(map(_value, listed)), _LISTED).replace(_ROW, r"\\")
    return r"\mathbb{R}" if text == r"(-\infty,\infty)" else text


@lru_cache(maxsize=4096)
def layout(text: str) -> str:
    """Return a text without layout: spacing commands, `\\left`, dollar signs, synonyms of commands.

    Takes time linear in the text, which may be a whole prompt.
    """
    text = _replaced(text.strip(), _RAW).strip("*").translate(_TRANSLATION)
    return _replaced(text, _LAYOUT).strip()


def _without_braces(text: str) -> str:
    """Return a set's members, or the contents of braces around the whole text."""
    braces = _BRACES.fullmatch(text)
    return (braces[1] or braces[2] or "").strip() or r"\emptyset" if braces else text


def _word_between(match: re.Match[str]) -> str:
    r"""Write a list within `\text{}` plainly. Leave any other `\text{}`, which may be a unit."""
    return f" {match[1]} " if "," in match[1] or _EITHER.search(match[1]) else match[0]


def _part(text: str) -> str:
    """Return one part of a list, without its units and its spaces, and with braces around arguments."""
    name, equals, plain = text.rpartition("=") if text.count("=") == 1 else ("", "", text)
    number = _number(plain.strip())
    if number is not None:
        return squeeze(_WORDS.sub(r" \1", name + equals)) + number
    text = _BARE_UNIT.sub(_keep_no_unit, _UNIT_AT_END.sub(_keep_no_unit, text)).rstrip(". ")
    return squeeze(_WORDS.sub(r" \1", text).replace("°", ""))


def _number(text: str) -> str | None:
    """Return the digits of one number with a unit or a percent sign; None for other texts."""
    outside = _SHORT_UNIT.sub("", _WORDS.sub(" ", text))
    if _VARIABLE.search(outside) or any(map(_HALF_OF_DAY.fullmatch, _WORDS.findall(text))):
        return None
    words = _WORDS.sub(r" \1 ", _POWER_OF_WORD.sub("", text))
    value = read_number(words.replace("%", " ").replace("°", " ").rstrip(". ")).value
    if value is None:
        return None
    digits = f"{value:f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    if not value:
        digits = "0"  # also for "-0"
    return f"{digits}%" if text.endswith("%") else digits


def _keep_no_unit(match: re.Match[str]) -> str:
    for unit in _WORDS.findall(match[0]) or match.groups():
        is_unit = read_number(f"1 {unit.strip()}").value == 1
        if not is_unit or _HALF_OF_DAY.fullmatch(unit):
            return match[0]
    return "%" if "%" in match[0] else ""


def squeeze(text: str) -> str:
    """Return a text without spaces, with braces around each argument of a fraction, root and power."""
    return _REPEATING.sub(_fraction, _replaced(text.strip(), _ARGUMENTS))


def _fraction(repeating: re.Match[str]) -> str:
    whole, once, digits = repeating.groups()
    nines = 10 ** len(digits) - 1
    return f"{int(whole + once or 0) * nines + int(digits)}/{nines * 10 ** len(once)}"


def _unnamed(text: str) -> str:
    r"""Return the value of "x=5": the left side has no number of its own and no sum."""
    name, equals, value = text.partition("=")
    if equals and re.fullmatch("[a-zA-Z]+", value) and not re.search("[a-zA-Z]", name):
        return name  # "3 = s"
    if not equals:
        name, equals, value = text.partition(r"\in")
        if not equals or value[:1].isalpha():
            return text
    bare = _INDEX.sub("", _FUNCTION.sub(r"\1", name))
    if not re.search("[a-zA-Z]", bare) or _NO_NAME.search(bare) or not value:
        return text
    return value.lstrip()


def _value(text: str) -> str:
    """Return a mixed number as a fraction, and a choice as its letter."""
    choice = _CHOICE.fullmatch(text)
    return choice[1] if choice else _MIXED.sub(_improper, text)


def _improper(mixed: re.Match[str]) -> str:
    sign, whole, *halves = mixed.groups("")
    over, under = filter(None, halves)
    if int(over) >= int(under):
        return mixed[0]
    return f"{sign}{int(whole) * int(under) + int(over)}/{under}"


def split(text: str) -> list[str]:
    """Return the parts of a list: split at commas and semicolons outside brackets."""
    depth = 0
    start = 0
    parts = []
    for index, letter in enumerate(text):
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth <= 0 and letter in ",;":
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
