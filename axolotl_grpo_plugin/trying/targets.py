"""The completions of the attacks on a reward, made from rows of the dataset."""

import re
from collections.abc import Callable
from decimal import Decimal
from string import ascii_uppercase

from axolotl_grpo_plugin.completions import AnswerPlace, Names, Texts, find_answer, read_number
from axolotl_grpo_plugin.rewards.choice import read_options
from axolotl_grpo_plugin.rewards.mathematics.values import read_value
from axolotl_grpo_plugin.thinking import THINK, with_closing
from axolotl_grpo_plugin.trying.samples import (
    ANSWERS,
    LAYOUTS,
    REASONING,
    Layout,
    Sample,
    Samples,
    gold_of,
)

TextsOf = dict[str, Texts]  # by attack; without a text, the row is left out

WITHOUT_LAYOUT = ("bare text", "prose")
LONG = "word " * 1000
MEGABYTE = 1_000_000
_PLACES: tuple[AnswerPlace, ...] = ("tag", "box", "hash", "line")
NUMBERS = "numbers of the prompt"
NO_NUMBER = "no prompt's last paragraph has a number other than the answer"
_NUMBER = re.compile(r"-?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
_INTEGER = re.compile(r"(?<![\w.])-?[0-9]{1,18}(?![\w.])")

# Why no right answer is known.
NO_GOLD = f"the reward reads no gold answer of the rows (column {', '.join(ANSWERS)})"
# Why an attack has no completion for any row.
LEFT_OUT = {
    "all rows' golds": "all rows have the same answer",
    "number 5 % off": "no answer is a plain number",
    "unevaluated expression": "no answer is a plain whole number",
    "another letter, right text": "no row has options",
    "answer line against a box": "all rows have the same answer",
    "draft in unfinished thinking": "the layout that is paid closes the thinking",
    "echo of the prompt": "the prompts state the right answers",
}


class Target:
    """A row to attack.

    Attributes:
        row: The columns of the row.
        turns: The text of each message of the prompt.
        question: The last paragraph of the prompt.
        gold: The right answer as text, "" if unknown.
        others: The golds of other rows that differ from this one.
        wrong: One of the others, or else a wrong answer.
        opens: The mark of thinking that the prompt opens, or "".
        layout: The layout that the reward pays best.
    """

    def __init__(self, sample: Sample, gold: str, others: Texts, opens: str = ""):
        self.row = sample.row
        self.turns = sample.turns
        self.question = sample.prompt.rpartition("\n\n")[2].strip()
        self.gold = gold
        self.others = others
        candidates = [*others, *_near(gold), "no idea"]
        self.wrong = candidates[0]
        self.opens = opens
        self.layout = LAYOUTS["<answer>"]

    def written(self, layout: Layout, answer: str) -> str:
        """Return an answer in a layout, after thinking that the prompt has opened."""
        return with_closing(layout(answer), self.opens, REASONING)

    def wrap(self, answer: str) -> str:
        """Return an answer in the layout that the reward pays best."""
        return self.written(self.layout, answer)

    @property
    def known(self) -> str:
        """The right answer. Without a gold, a number stands for it."""
        return self.gold or "42"

    @property
    def bare_gold(self) -> str:
        """The gold without the brackets and quotes of a list."""
        if isinstance(read_value(self.gold).value, list):
            return self.gold.strip("[]").replace('"', "")
        return self.gold

    @property
    def right(self) -> str:
        """A right completion."""
        return self.wrap(self.known)


def targets_of(samples: Samples, reads: Names, opens: str = "") -> list[Target]:
    """Return the rows, each with the gold that the reward reads and those of other rows.

    Args:
        samples: The rows.
        reads: The columns that the reward reads.
        opens: The mark of thinking that the prompts open, or "".
    """
    golds = []
    for sample in samples:
        gold = gold_of(sample.row, reads, kinds=object)
        if gold is None and sample.gold:
            gold = find_answer(sample.gold, _PLACES).text
        golds.append(gold or "")
    targets = []
    for index, gold in enumerate(golds):
        others = []
        # The list begins at this row, so that rows do not share one wrong answer.
        for other in golds[index:] + golds[:index]:
            if other and gold and not _same(other, gold):
                others.append(other)
        targets.append(Target(samples[index], gold, others, opens))
    return targets


def _same(left: str, right: str) -> bool:
    number = read_number(left).value
    if number is None:
        return left.strip() == right.strip()
    return number == read_number(right).value


def _changed(gold: str, number: re.Pattern[str], change: Callable[[str], str]) -> Texts:
    """Return a gold with each number changed, or nothing if it is neither a number, a list nor an object."""
    value = read_number(gold).value
    if value is not None:
        gold = f"{value.normalize():f}"
    elif not isinstance(read_value(gold).value, list | tuple | dict):
        return []
    changed = number.sub(lambda match: change(match[0]), gold)
    return [changed] if changed != gold else []


def _near(gold: str) -> Texts:
    """Return a gold whose numbers are 5 % larger."""

    def larger(number: str) -> str:
        value = Decimal(number.replace(",", ""))
        return str(value + max(1, round(abs(value) / 20)))

    return _changed(gold, _NUMBER, larger)


def _frames() -> Texts:
    """Return the layouts around nothing, and around "..."."""
    texts = []
    for name, layout in LAYOUTS.items():
        if name not in WITHOUT_LAYOUT:
            texts += [layout(""), layout("...")]
    return texts


def empty_texts(target: Target) -> TextsOf:
    """Return completions that earn nothing from any reward."""
    frames = []
    for frame in _frames():
        frames.append(frame.replace(REASONING, ""))
        frames.append(frame.replace(REASONING, "..."))
    return {"empty": ["", " \n"], "layout without content": frames}


def wrong_texts(target: Target) -> TextsOf:
    """Return completions that earn nothing from a reward that reads a gold answer."""
    wrap = target.wrap
    echoes = []
    for text in (target.turns[-1], "\n".join(target.turns)):
        answer = find_answer(text, _PLACES).text or ""
        if not target.gold or not _same(answer, target.gold):
            echoes.append(text)
    texts = {
        "no answer in the layout": _frames(),
        "echo of the prompt": echoes,
        "the question as the answer": [wrap(target.question)],
        "instruction's placeholder": _placeholders(target),
    }
    wrong = wrap(target.wrong)
    needs_gold = _wrong_answers(target)
    needs_gold["gold only in the reasoning"] = [wrong.replace(REASONING, f"It is {target.gold}.")]
    needs_gold["unclosed tag"] = _unclosed(target)
    needs_gold["draft in unfinished thinking"] = _drafts(target)
    needs_gold["answer line against a box"] = _contradictions(target)
    needs_gold["another letter, right text"] = _wrong_letters(target)
    # A reward may read the first block or the last one.
    needs_gold["right answer between wrong ones"] = [f"{wrong}\n{target.right}\n{wrong}"]
    for name, written in needs_gold.items():
        texts[name] = written if target.gold else []
    return texts


def _wrong_answers(target: Target) -> TextsOf:
    """Return attacks that write a wrong answer in the layout."""
    gold, wrong = target.gold, target.wrong
    numbers = _NUMBER.findall(target.question)
    answers = {
        NUMBERS: [*numbers[-1:], ", ".join(numbers)],
        "all rows' golds": [", ".join(dict.fromkeys([gold, *target.others]))],
        "hedge": [f"{gold} or {wrong}", f"{wrong} or {gold}", f"{gold}, maybe {wrong}"],
        "denial": [f"not {gold}"],
        "number 5 % off": _near(gold),
        "gold within a longer text": [f"7{gold}3"],
        "code": [f"__import__('os').getpid() and {gold}", "1/0"],
        "unevaluated expression": _unevaluated(gold),
    }
    texts: TextsOf = {}
    for name, written in answers.items():
        texts[name] = []
        for answer in written:
            if answer and not _same(answer, gold):
                texts[name].append(target.wrap(answer))
    for answer in _unevaluated(gold):
        texts["unevaluated expression"].append(LAYOUTS[r"\boxed{}"](answer))
    return texts


def _unevaluated(gold: str) -> Texts:
    """Return a gold whose whole numbers are sums or products."""
    texts = _changed(gold, _INTEGER, lambda number: f"{int(number) - 1}+1")
    for product in _changed(gold, _INTEGER, _product):
        texts += [product, product.replace("*", r"\cdot")]
    return texts


def _product(number: str) -> str:
    value = int(number)
    divisor = next(factor for factor in (2, 3, 5, 7, 1) if value % factor == 0)
    return f"{value // divisor}*{divisor}"


def _unclosed(target: Target) -> Texts:
    """Return completions that end before the answer, or within it."""
    text = target.right
    cut = max(text.rfind("</answer>"), text.rfind("}"), 0)
    known = f"It is {target.gold}"
    texts = [f"<reasoning>\n{known}", f"<think>\n{known}", text[:cut]]
    return [text for text in texts if text]


def _drafts(target: Target) -> Texts:
    """Return a right answer within thinking that never closes."""
    opens = "" if target.opens else f"{THINK.opening}\n"
    draft = target.layout(target.gold)
    # Some layouts close the thinking.
    return (
        [] if THINK.closing in draft else [f"{opens}Maybe it is this:\n{draft}\nWait, let me check"]
    )


def _contradictions(target: Target) -> Texts:
    """Return a box and a line "Answer: ..." of which one is right."""
    if target.wrong not in [*target.others, *_near(target.gold)]:
        return []
    texts = []
    for boxed, stated in ((target.gold, target.wrong), (target.wrong, target.gold)):
        texts.append(
            with_closing(f"So \\boxed{{{boxed}}}.\n\nAnswer: {stated}", target.opens, REASONING)
        )
    return texts


def _wrong_letters(target: Target) -> Texts:
    """Return the text of the right option beside the letter of another one."""
    options = read_options(target.row.get("options"))
    letters = ascii_uppercase[: len(options)]
    if target.gold not in [*letters]:
        return []
    text = options[letters.index(target.gold)]
    return [target.wrap(f"{letter}) {text}") for letter in letters if letter != target.gold]


def _placeholders(target: Target) -> Texts:
    """Return the words by which an instruction names the answer."""
    texts = []
    for words in ("$Answer", "answer", "your answer", "$LETTER", "..."):
        if not _same(words, target.gold):
            texts += [target.wrap(words), with_closing(f"Answer: {words}", target.opens, REASONING)]
    return texts


def equal_texts(target: Target) -> TextsOf:
    """Return completions as good as the right one in its layout."""
    right = target.right
    return {
        "right, 40 lines of reasoning": [right.replace(REASONING, f"{REASONING}\n" * 40)],
        "right, CRLF line ends": [right.replace("\n", "\r\n")],
        "right, outer line breaks": [f"\n{right}\n\n"],
    }


def huge_texts(target: Target) -> TextsOf:
    """Return completions of 1 MB, and numbers that no computer can write."""
    tags = "<think><answer>"
    return {
        "1 MB of text": [LONG * (MEGABYTE // len(LONG))],
        "1 MB of digits": [target.wrap("9" * MEGABYTE)],
        "1 MB of tags": [tags * (MEGABYTE // len(tags))],
        "tower of powers": [target.wrap("9**9**9**9"), target.wrap("9^{9^{9^{9}}}")],
    }
