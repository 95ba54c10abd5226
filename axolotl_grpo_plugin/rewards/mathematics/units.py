"""Units after a number: words -> a size in base units.

Two sizes can be compared if they have the same base units: 5000 m is 5 km, and 5 kg is not 5 g. A noun such as
"eggs" is no unit.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from axolotl_grpo_plugin.completions import is_unit
from axolotl_grpo_plugin.rewards.mathematics.brackets import CLOSING, OPENING, Tokens, closing
from axolotl_grpo_plugin.rewards.mathematics.functions import FUNCTIONS
from axolotl_grpo_plugin.rewards.mathematics.tokens import Token


class Unit(NamedTuple):
    """A unit of measurement.

    Attributes:
        factor: The size in base units.
        base: Pairs of a base unit and its power, sorted: (("m", 1), ("s", -1)).
    """

    factor: Fraction
    base: tuple[tuple[str, int], ...]


# Names, then a size and the base units of it.
_TABLE = """
m meter meters metre metres 米 公尺: 1 m
km kilometer kilometers kilometre kilometres 千米 公里: 1000 m
dm decimeter decimeters decimetre decimetres 分米: 1/10 m
cm centimeter centimeters centimetre centimetres 厘米: 1/100 m
mm millimeter millimeters millimetre millimetres 毫米: 1/1000 m
μm micrometer micrometers micron microns 微米: 1/1000000 m
nm nanometer nanometers 纳米: 1/1000000000 m
Å angstrom angstroms: 1/10000000000 m
in inch inches '': 254/10000 m
ft foot feet ': 3048/10000 m
yd yds yard yards: 9144/10000 m
mi mile miles 英里: 1609344/1000 m
g gram grams 克: 1 g
kg kgs kilogram kilograms 千克 公斤: 1000 g
mg milligram milligrams 毫克: 1/1000 g
lb lbs: 45359237/100000 g
oz ounce ounces: 45359237/1600000 g
ton tons tonne tonnes 吨: 1 ton
斤: 500 g
s sec secs second seconds 秒 秒钟: 1 s
ms millisecond milliseconds: 1/1000 s
min mins minute minutes 分钟: 60 s
h hr hrs hour hours 小时 时: 3600 s
day days 天: 86400 s
wk week weeks 周 星期: 604800 s
month months 月: 1 month
yr yrs year years 年: 12 month
L l liter liters litre litres 升: 1/1000 m3
mL ml milliliter milliliters millilitre millilitres 毫升: 1/1000000 m3
gal gallon gallons: 1 gallon
qt quart quarts: 1/4 gallon
pt pint pints: 1/8 gallon
cup cups: 1/16 gallon
mph: 1609344/3600000 m s-1
kph kmh kmph: 1000/3600 m s-1
° deg degree degrees 度: 1 °
°C 摄氏度: 1 °C
°F: 1 °F
K kelvin kelvins 开尔文: 1 K
rad radian radians 弧度: 1 rad
N newton newtons 牛 牛顿: 1000 g m s-2
J joule joules 焦 焦耳: 1000 g m2 s-2
kJ kilojoule kilojoules: 1000000 g m2 s-2
W watt watts 瓦 瓦特: 1000 g m2 s-3
kW kilowatt kilowatts 千瓦: 1000000 g m2 s-3
Pa pascal pascals 帕 帕斯卡: 1000 g m-1 s-2
kPa: 1000000 g m-1 s-2
Hz hertz 赫兹: 1 s-1
V volt volts 伏 伏特: 1 V
A amp amps ampere amperes 安 安培: 1 A
mA: 1/1000 A
Ω ohm ohms 欧 欧姆: 1 Ω
kΩ: 1000 Ω
C coulomb coulombs: 1 C
F farad farads: 1 F
T tesla: 1 T
mol mole moles: 1 mol
eV: 1 eV
$ dollar dollars usd USD 美元: 1 $
¢ cent cents: 1/100 $
€ euro euros EUR 欧元: 1 €
£ gbp GBP 英镑: 1 £
¥ yen yuan rmb RMB CNY JPY 元 円 圆 块 块钱: 1 ¥
角: 1/10 ¥
分: 1/100 ¥
₹ rupee rupees Rs INR: 1 ₹
"""


def _read_table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        written, _, meaning = line.rpartition(": ")
        size, *powers = meaning.split()
        pairs = re.findall(r"([^ 0-9-]+)(-?[0-9]*)", " ".join(powers))
        base = sorted((name, int(power or 1)) for name, power in pairs)
        units |= dict.fromkeys(written.split(), Unit(Fraction(size), tuple(base)))
    return units


UNITS = _read_table()
_POWERS = {"square": 2, "sq": 2, "平方": 2, "cubic": 3, "cu": 3, "立方": 3}
_DIVIDES = frozenset({"/", "per", "a", "an", "每"})
_NONE = Unit(Fraction(1), ())


@lru_cache(maxsize=4096)
def unit_of(words: Sequence[str]) -> Unit | None:
    """Return the unit that words and signs state, or None if one of them is no unit of the table.

    Args:
        words: For example ("m", "/", "s", "^", "2") or ("square", "meters").
    """
    unit = _NONE
    sign = power = 1
    for index, word in enumerate(words):
        if word in _DIVIDES:
            sign = -1
        elif word in _POWERS:
            power = _POWERS[word]
        elif word == "^":
            continue
        elif word in ("squared", "cubed") and index:
            unit = _times(unit, words[index - 1], sign * (1 + (word == "cubed")))
        elif re.fullmatch("-?[0-9]", word):
            # The power of the unit before it, which has counted once.
            unit = _times(unit, words[index - 2], sign * (int(word) - 1))
        elif word not in (r"\cdot", "(", ")", ".", "of", "the"):
            if word not in UNITS and word.lower() not in UNITS:
                return None
            unit = _times(unit, word, sign * power)
            power = 1
    return unit if unit.base else None


def _times(unit: Unit, name: str, power: int) -> Unit:
    other = UNITS.get(name) or UNITS.get(name.lower()) or _NONE
    powers = dict(unit.base)
    for base, count in other.base:
        powers[base] = powers.get(base, 0) + count * power
    kept = sorted(pair for pair in powers.items() if pair[1])
    return Unit(unit.factor * other.factor**power, tuple(kept))


# ---------------------------------------------------------------------------------------------------
# Units in tokens

_CURRENCY_WORDS = {"USD", "EUR", "GBP", "CNY", "RMB", "Rs", "INR", "JPY", "US", "AUD", "CAD", "HKD"}
_CURRENCIES = {r"\$", "€", "£", "¥", "₹", "₽", "₩", "฿", "₫", "₪", "₺"}


def is_currency(token: Token) -> bool:
    return token.text in _CURRENCIES or (
        token.kind in ("word", "letters") and token.text in _CURRENCY_WORDS
    )


def unit_start(part: Tokens) -> int:
    """Return the index where the unit at the end begins."""
    depth = 0
    for index, token in enumerate(part):
        is_inside = depth > 0
        if token.kind == "sign":
            depth += (token.text in OPENING) - (token.text in CLOSING)
        if not index or is_inside or token.kind == "number" or not _begins_unit(part, index):
            continue
        if _is_whole_unit(part, index):
            return index
    return len(part)


def _begins_unit(part: Tokens, index: int) -> bool:
    token = part[index]
    text = token.text
    if token.kind == "word":
        return True
    if token.kind == "letters":
        return _is_unit_run(part, index)
    if text in (r"\Omega", r"\mu", r"\AA", "'", "''"):
        has_degrees = any(other.text in ("°", r"\circ") for other in part)
        return not has_degrees and (
            part[index - 1].kind == "number" or part[index - 1].text in ("}", ")")
        )
    return text in _CURRENCIES or text in ("%", "°", r"\frac", "(", r"\cdot", "/")


def _is_unit_run(part: Tokens, index: int) -> bool:
    """Return whether letters in mathematics are a unit: "18 cm" and "18apples", not "18x"."""
    token = part[index]
    text = token.text
    before = part[index - 1]
    follows_value = before.kind in ("number", "word") or before.text in (
        "}",
        ")",
        "°",
        "/",
        r"\cdot",
        "^",
        "'",
    )
    if not follows_value and before.kind != "letters":
        return False
    if len(text) == 1:
        after = part[index + 1].text if index + 1 < len(part) else ""
        follows = part[index - 1].text
        if follows == "°":
            return text in "CFK"
        if follows == "/":
            return text in ("h", "s") and part[index - 2].kind == "letters"
        return (
            after == "/"
            and index + 2 < len(part)
            and part[index + 2].text in ("s", "h", "hr", "min")
            and text in "mg"
        )
    if text in UNITS or text in ("sq", "cu", "percent", "pct"):
        return True
    if text.lower() in FUNCTIONS or text in (
        "pi",
        "sqrt",
        "ln",
        "lg",
        "true",
        "false",
        "never",
        "none",
        "infinity",
    ):
        return False
    return len(text) > 4 or (token.spaced and len(text) > 2)


def _is_whole_unit(part: Tokens, start: int) -> bool:
    """Return whether the tokens to the end are a unit that leaves the number as it is."""
    words: list[str] = []
    has_symbol = False
    index = start
    is_fraction = part[start].text == r"\frac"
    while index < len(part):
        token = part[index]
        text = token.text
        if (
            (token.kind == "letters" and is_fraction and text in UNITS)
            or token.kind == "word"
            or (token.kind == "letters" and _is_unit_run(part, index))
        ):
            words.append(text)
            has_symbol = True
        elif text == "^":
            power = [each.text for each in part[index + 1 : index + 5]]
            if power[:1] == ["{"] and "}" in power:
                inner = power[1 : power.index("}")]
                index += len(inner) + 2
            else:
                inner = power[:1]
                index += 1
            if inner == [r"\circ"]:
                has_symbol = True
            elif "".join(inner) not in ("1", "2", "3", "-1", "-2", "-3") or not has_symbol:
                return False
        elif text in ("%", "°", "'", "''", r"\Omega", r"\mu", r"\AA") or text in _CURRENCIES:
            has_symbol = True
        elif text == "/" or text == r"\cdot":
            # "18/day", but not "18/2".
            if index + 1 == len(part):
                return False
        elif text not in (r"\frac", "{", "}", "(", ")", "."):
            return False
        index += 1
    if not has_symbol:
        return False
    if part[start].text == "(" and closing(part, start) != len(part) - 1:
        return False
    spoken = " ".join(words)
    if len(words) == 1 and len(spoken) == 1:
        return not (
            spoken == "M"
            or (not spoken.isascii() and spoken not in UNITS and not is_unit(spoken))
            or (spoken.isalpha() and spoken.isascii() and spoken not in _LETTER_UNITS)
        )
    if words[-1:] in (["squared"], ["cubed"]) and words[-2:-1] and words[-2] in UNITS:
        words.pop()
    plain = " ".join(word for word in words if len(word) > 1 or not word.isascii())
    return not plain or is_unit(plain)


_LETTER_UNITS = frozenset("mgsdhlLJNKWVACFTH")


# "个平方厘米", "千米每小时"
_CHINESE = re.compile("平方|立方|每|[\u4e00-\u9fff]+?(?=每|$)")


def unit_words(unit: Tokens) -> Iterator[str]:
    """Yield the words and signs of a unit. `\\frac{m}{s}` is "m / s"."""
    if unit and unit[0].text == r"\frac":
        for index, token in enumerate(unit[1:]):
            if token.text == "{" and index and unit[index].text == "}":
                yield "/"
            elif token.text not in ("{", "}"):
                yield token.text
        return
    micro = ""
    previous = ""
    for token in unit:
        text = {r"\$": "$", r"\Omega": "Ω", r"\AA": "Å", r"\circ": "°"}.get(token.text, token.text)
        if text in ("{", "}"):
            continue
        if text == "^" and token is not unit[-1]:
            previous = "^"
            continue
        if text == "°":
            previous = "°"
            yield "°"
            continue
        if text == r"\mu":
            micro = "μ"
            continue
        if previous == "^":
            yield "^"
        previous = text
        yield from _CHINESE.findall(text.removeprefix("个")) or [micro + text]
        micro = ""
