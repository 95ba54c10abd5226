r"""Bring a short LaTeX answer into a normal form.

`normal` removes layout, units and names, so that most equal answers become equal strings. It takes
at most `LONGEST` characters. Nothing here raises, whatever the text.
"""

import re
from functools import lru_cache

from axolotl_grpo_plugin.completions import read_number

LONGEST = 400  # characters of an answer: longer is prose, and costs time

_INTEGER = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)")
_UNICODE = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2013", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f", " "),
        **{"π": r"\pi ", "θ": r"\theta ", "√": r"\sqrt", "∞": r"\infty ", "∅": r"\emptyset "},
        **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "±": r"\pm "},
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in "},
        **{power: f"^{{{digit}}}" for digit, power in zip("23456789", "²³⁴⁵⁶⁷⁸⁹", strict=True)},
        **{"½": r"\frac{1}{2}", "º": "°"},
        **{"⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}"},
        **{"⁄": "/", "ℝ": r"\mathbb{R}", "€": "", "£": "", "¢": ""},
    }
)
_FAMILY = (
    r"\\(?:text|textbf|textit|textrm|textnormal|textsf|mathrm|mathbf|mathit|mathsf|boldsymbol|mbox"
    r"|underline|operatorname|textcolor\{[a-z]*\})\s*"
)
# A single letter in math mode is a variable in whatever font: "3+2\mathrm{i}".
_LETTER = re.compile(r"\\(?:mathrm|text|mathbf|mathit|boldsymbol)\s*\{([abceijknpqrtxyz])\}")
_WORDS = re.compile(_FAMILY + r"\{([^{}]*)\}")
# A row of a matrix ends in two backslashes, which the rules for "\ " and "\," must not split.
_ROW = "\ue000"  # private use: no text has a meaning for it
_ROWS = re.compile(r"\\\\(?:\[[0-9.a-z ]*\])?|\\cr(?![a-zA-Z])")
_ROOT_OF_NUMBER = re.compile(r"√\s*([0-9]+)")
_SPACES = re.compile(r"[ \t]{2,}")
_LINES = re.compile(r"(?<=[0-9])[ \t]*\n\s*(?=[0-9])")
_DIGIT_GAP = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\! *|\\,)(?=[0-9]{3}(?![0-9]))")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_SPACED_DIGITS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9/]| [0-9])")
_SPACING = re.compile(
    r"\\[,;: ]|~|\\q?quad(?![a-zA-Z])|\\(?:hspace\{[^{}]*\}|phantom\s*(?:\{[^{}]*\}|[^\s{\\]))"
)
_LAYOUT = re.compile(
    r"\\(?:left|right|displaystyle|limits|[bB]igg?[lr]?|large|Large|bf|rm|it)(?![a-zA-Z])|\\!|\\\(|\\\)|\\\[|\\\]|\$"
)
_PERCENT = re.compile(r"\s*(?:\\?%|(?<![a-zA-Z])(?:per ?cent(?:age)?|pct)(?![a-zA-Z]))")
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degrees?(?![a-zA-Z])|\^o(?![a-zA-Z])")
_ORDINAL = re.compile(r"(?<=[0-9])\^\{?\s*(?:" + _FAMILY + r"\{\s*)?(?:st|nd|rd|th)\s*\}{0,2}")
_EITHER = re.compile(r"(?:,\s*)?(?<![a-zA-Z\\])(?:or|and)(?![a-zA-Z])")
# "18 men" has a unit and "18x" a variable: a short word is a unit only if it is one of these.
_SQUARED = r"(?:\^\{?[23]\}?)"
_SHORT_UNIT = re.compile(
    r"(?<![a-zA-Z\\])(?:[a-zA-Z]{1,3}/(?:hr?|s|min)|[cdkmn]m|[km]g|[cm][lL]|ft|in|yd|mi|lbs?|oz|hrs?|mph|an?|of)"
    rf"{_SQUARED}?(?![a-zA-Z])|°\s*[CFK]?(?![a-zA-Z])"
)
_VARIABLE = re.compile(r"[0-9.][a-zA-Z](?![a-zA-Z]{4})|(?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])")
_UNIT_AT_END = re.compile(
    rf"(?<=[0-9}}i)])\s*(?:{_FAMILY}\{{([^{{}}]*)\}}|([cdkm]m)){_SQUARED}?$"
    rf"|(?<=[0-9}}i])\s*{_FAMILY}\{{[^{{}}]*\}}/{_FAMILY}\{{[^{{}}]*\}}$"
)
# \mathrm{cm^2} -> \text{cm}^{2}
_POWER_IN_UNIT = re.compile(
    _FAMILY + r"\{(\s*(?:[a-zA-Z]{2,8}|m|[a-z]{1,3}/[a-z]{1,3})\s*)\^\{?([23])\}?\s*\}"
)
# "-5/2 x" is -5/2 times x.
_FRACTION_OF = re.compile(r"(?<![0-9/.}a-zA-Z^])([0-9]+)/([0-9]+)(?=\s+(?:\\pi|[a-z])(?![a-zA-Z]))")
_UNIT_SQUARED = re.compile(r"(?<![a-zA-Z])([cdkm]?m|ft|in|yd|mi)[²³]")
_BARE_UNIT = re.compile(r"(?<=[0-9}])\s+((?!true|false|never|none)(?=[a-z]*[aeiou])[a-zA-Z]{4,})$")
_HALF_OF_DAY = re.compile(r"\s*[ap]\.?m\.?\s*", re.IGNORECASE)
_POWER_OF_WORD = re.compile(rf"(?<=[a-zA-Z}}]){_SQUARED}")
# One space stays if it means something: "17 18" is not 1718, and "\pi r" not "\pir".
_SPACE = re.compile(r"(\\[a-zA-Z]+(?=\s+[a-zA-Z])|[0-9](?=\s+[0-9]))?\s+")
_SYNONYMS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:[dtc]frac)(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s+([0-9])\s+([0-9])", r"\\frac{\1}{\2}"),
        (r"^\\approx(?![a-zA-Z])", ""),
        (r"\\equiv(?![a-zA-Z])", "="),
        (r"\\pmod\s*(?:\{[^{}]*\}|[0-9])", ""),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (r"\\(?:leqslant|leqq?)(?![a-zA-Z])|<=|=<", r"\\le "),
        (r"\\(?:geqslant|geqq?)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\neq(?![a-zA-Z])|!=|\\not\s*=", r"\\ne "),
        (r"\\not\s*\\in(?![a-zA-Z])", r"\\notin "),
        (r"\\[lr]brace(?![a-zA-Z])", lambda match: r"\{" if match[0][1] == "l" else r"\}"),
        (r"\\(?:bar|dot)(?=\{)", r"\\overline"),
        (r"[(\[]\s*\\begin\{array\}\s*\{[clr|]*\}", r"\\begin{pmatrix}"),
        (r"\\end\{array\}\s*[)\]]", r"\\end{pmatrix}"),
        (r"(?<=[,(\[])\s*\+\s*\\infty", r"\\infty"),
        (r"\\(?:times|ast)(?![a-zA-Z])|\*+", r"\\cdot "),
        (r"\\div(?![a-zA-Z])", "/"),
        (r"\\(?:varnothing|O)(?![a-zA-Z])", r"\\emptyset "),
        (r"\\(begin|end)\{(?:[bB]|small|)matrix\}", r"\\\1{pmatrix}"),
        (r"\\(?:mathbb|mathbf|Bbb)\s*\{?R\}?|\\R(?![a-zA-Z])", r"\\mathbb{R}"),
        (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "),
        (r"(?<![a-zA-Z\\])sqrt(?=[({])", r"\\sqrt"),
        (r"(?<![a-zA-Z\\])infinity(?![a-zA-Z])", r"\\infty "),
        (r"\\(sin|cos|tan)\s*\^\s*\{-1\}", r"\\arc\1 "),
    )
]
_BARE_FRACTION = re.compile(r"\\frac\s*(?:([0-9a-zA-Z])|(\\pi)|(?=\{))")
_BARE_BELOW = re.compile(
    r"(\\frac\{(?:[^{}]|\{[^{}]*\})*\})\s*(?:([0-9a-zA-Z])|(\\pi)(?![a-zA-Z]))"
)
_BARE_ROOT = re.compile(r"\\sqrt\s*([0-9a-zA-Z])")
_ROOT_OF_PARENTHESES = re.compile(r"\\sqrt\(([^()]*)\)")
_BARE_POWER = re.compile(r"\^\s*(?:([0-9]+|[a-zA-Z])|(\\(?:pi|theta|infty))|\{\s*([^{} ]*)\s*\})")
# math-verify reads "\sin^2 t" with braces only.
_BARE_FUNCTION = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc|ln|log)(?![a-zA-Z])(?:\^\{[0-9]\})?) ?([a-zA-Z])(?![a-zA-Z(^_])"
)
_BARE_INDEX = re.compile(r"_\{([0-9a-zA-Z]+)\}")
# Names: "x", "AB", "\theta", "x_1", "f(2)", "f^{-1}(x)", "(x,y)", "\angle ABC", "\frac{NO}{BO}".
_FUNCTION = re.compile(r"(?<![a-zA-Z])([a-zA-Z])(?:\^\{-1\})?'*\([^()]*\)")
_INDEX = re.compile(r"_(?:[0-9a-zA-Z]|\{[^{}]*\})")
_NO_NAME = re.compile(
    r"[0-9+\-<>]|\\(?:le|ge|ne|neg|not|notin|sim|approx|pm|cdot|int|sum)(?![a-zA-Z])"
    r"|(?:not|wrong|never|false)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\(([A-Z])\)")
_MIXED = re.compile(
    r"([+-]?)([0-9]{1,30})(?: ([0-9]{1,30})/([0-9]{1,30})|\\frac\{([0-9]{1,30})\}\{([0-9]{1,30})\})"
)
_REPEATING = re.compile(r"([+-]?)([0-9]{0,30}\.[0-9]{0,30})\\overline\{([0-9]{1,30})\}")
_BRACES = re.compile(r"\\\{((?:[^{}]|\{[^{}]*\})*)\\\}", re.DOTALL)
_PLAIN_BRACES = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*)\}", re.DOTALL)
_OPENING, _CLOSING = "([{", ")]}"


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
    if not any(bracket in text for bracket in ("(", "[", r"\{", "}{")):
        text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    text = _SPACED_DIGITS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _EITHER.sub(",", _WORDS.sub(_word_between, text))
    text = _without_braces(text)
    listed = [_part(part.strip()) for part in split(text)]
    if not named:
        values = [_without_braces(_unnamed(part)) for part in listed]
        listed = listed if any("=" in value for value in values) else values
    text = ",".join(map(_value, listed)).replace(_ROW, r"\\")
    return r"\mathbb{R}" if text == r"(-\infty,\infty)" else text


@lru_cache(maxsize=4096)
def layout(text: str) -> str:
    """Return a text without layout: spacing commands, `\\left`, dollar signs, synonyms of commands.

    Takes time linear in the text, which may be a whole prompt.
    """
    text = _SPACES.sub(" ", text)
    text = _UNIT_SQUARED.sub(r"\\text{ \1}", _ROWS.sub(_ROW, text.strip()).strip("*"))
    text = _LETTER.sub(r"\1", _ROOT_OF_NUMBER.sub(r"\\sqrt{\1}", text).translate(_UNICODE))
    text = _LINES.sub(";", text.replace("\\$", "$"))
    text = _SPACING.sub(" ", _DIGIT_GAP.sub("", text))
    text = _ORDINAL.sub("", text)
    text = _DEGREE.sub("°", _PERCENT.sub("%", _LAYOUT.sub("", text)))
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    return _FRACTION_OF.sub(r"\\frac{\1}{\2}", _POWER_IN_UNIT.sub(r"\\text{\1}^{\2}", text)).strip()


def _without_braces(text: str) -> str:
    """Return a set's members, or the contents of braces around the whole text."""
    braces = _BRACES.fullmatch(text) or _PLAIN_BRACES.fullmatch(text)
    return braces[1].strip() or r"\emptyset" if braces else text


def _word_between(match: re.Match[str]) -> str:
    r"""Write a list within `\text{}` plainly. Leave any other `\text{}`, which may be a unit."""
    return f" {match[1]} " if "," in match[1] or _EITHER.search(match[1]) else match[0]


def _part(text: str) -> str:
    """Return one part of a list, without its units and its spaces, and with braces around arguments."""
    name, equals, plain = text.rpartition("=") if text.count("=") == 1 else ("", "", text)
    number = _number(plain.strip())
    if number is not None:
        return _squeeze(_WORDS.sub(r" \1", name + equals)) + number
    text = _BARE_UNIT.sub(_keep_no_unit, _UNIT_AT_END.sub(_keep_no_unit, text)).rstrip(". ")
    return _squeeze(_WORDS.sub(r" \1", text).replace("°", ""))


def _number(text: str) -> str | None:
    """Return the digits of one number with a unit or a percent sign; None for other texts."""
    percent = "%" if text.endswith("%") else ""
    outside = _SHORT_UNIT.sub("", _WORDS.sub(" ", text))
    if _VARIABLE.search(outside) or any(map(_HALF_OF_DAY.fullmatch, _WORDS.findall(text))):
        return None
    words = _WORDS.sub(r" \1 ", _POWER_OF_WORD.sub("", text))
    value = read_number(words.replace("%", " ").replace("°", " ").rstrip(". ")).value
    if value is None:
        return None
    digits = f"{value.copy_abs():f}".lstrip("0")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    digits = ("0" if digits.startswith(".") else "") + (digits or "0")
    return ("-" if value < 0 else "") + digits + percent


def _keep_no_unit(match: re.Match[str]) -> str:
    unit = match[1]
    if unit is not None and _HALF_OF_DAY.fullmatch(unit):
        return match[0]
    if unit is None or read_number("1 " + unit.replace("~", " ").strip()).value == 1:
        return "%" if unit and "%" in unit else ""
    return match[0]


def _squeeze(text: str) -> str:
    """Return a text without spaces, with braces around each argument of a fraction, root and power."""
    text = _SPACE.sub(lambda match: f"{match[1]} " if match[1] else "", text.strip())
    text = _BARE_POWER.sub(lambda match: f"^{{{match[1] or match[2] or match[3] or ''}}}", text)
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", _ROOT_OF_PARENTHESES.sub(r"\\sqrt{\1}", text))
    text = _BARE_FUNCTION.sub(r"\1{\2}", _BARE_FRACTION.sub(_braced, text))
    text = _BARE_BELOW.sub(lambda match: f"{match[1]}{{{match[2] or match[3]}}}", text)
    return _BARE_INDEX.sub(lambda match: f"_{match[1]}" if len(match[1]) == 1 else match[0], text)


def _braced(match: re.Match[str]) -> str:
    argument = match[1] or match[2]
    return rf"\frac{{{argument}}}" if argument else r"\frac"


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
    """Return a mixed number and a repeating decimal as a fraction, a choice as its letter."""
    if text.endswith("%"):
        return _value(text[:-1]) + "%"
    if choice := _CHOICE.fullmatch(text):
        return choice[1]
    if mixed := _MIXED.fullmatch(text):
        over, under = int(mixed[3] or mixed[5]), int(mixed[4] or mixed[6])
        if over < under:
            return f"{mixed[1]}{int(mixed[2]) * under + over}/{under}"
    if repeating := _REPEATING.fullmatch(text):
        once = repeating[2].replace(".", "")
        nines = 10 ** len(repeating[3]) - 1
        under = nines * 10 ** (len(once) - repeating[2].index("."))
        return f"{repeating[1]}{int(once or 0) * nines + int(repeating[3])}/{under}"
    return text


def split(text: str) -> list[str]:
    """Return the parts of a list: split at commas, semicolons and spaces between digits, outside brackets."""
    depth, start, parts = 0, 0, []
    for place, letter in enumerate(text):
        if letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif depth <= 0 and (letter in ",;" or _parts_digits(text, place)):
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _parts_digits(text: str, place: int) -> bool:
    """Return whether a space separates two whole numbers: "17 18", but not "1 1/2"."""
    if text[place] != " " or not re.search(r"(?<![_^0-9])[0-9]+$", text[:place]):
        return False
    following = re.match(r" +[0-9]+", text[place:])
    return following is not None and not text[place + following.end() :].startswith("/")
