"""Read a run's rollouts in a terminal, for example over ssh."""

from collections.abc import Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from axolotl_grpo_plugin.evaluation.lenient import GOLD
from axolotl_grpo_plugin.runlog.reader import readable
from axolotl_grpo_plugin.training.report import sparkline

KEYS = (
    "Enter, n: next group   p: previous   s 12: step 12   / text: search   o: suspicious   q: quit"
)
_LONGEST = 2000  # characters of a completion


def plain(text: str) -> Text:
    """Return a text or a chat without the control characters that a terminal would obey."""
    return Text(readable(text, _LONGEST))


class Reader:
    """A place in the groups of a run. found: the groups that a search or the signs chose."""

    def __init__(self, data: dict[str, Any]):
        self.data, self.at = data, 0
        self.found: Sequence[int] = range(len(data["groups"]))
        sizes = [size for _, _, size in data["groups"]]
        self.starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self.of = [group for group, size in enumerate(sizes) for _ in range(size)]

    def obey(self, line: str) -> str:
        """Go to the place that a line asks for. Return a message, or ""."""
        word, _, rest = line.strip().partition(" ")
        if line.startswith("/"):
            return self._list(self._search(line[1:].strip()), "contain it")
        if word == "o":
            return self._list(self._odd(), "are suspicious")
        if word == "s":
            return self._step(rest)
        if word not in ("", "n", "p"):
            return f"Unknown: {word}. {KEYS}"
        place = self.found.index(self.at) + (-1 if word == "p" else 1)
        if not 0 <= place < len(self.found):
            return "No other group. s and a step ends a search."
        self.at = self.found[place]
        return ""

    def _list(self, rows: list[int], what: str) -> str:
        groups = list(dict.fromkeys(self.of[row] for row in rows))
        if groups:
            self.found, self.at = groups, groups[0]
        return f"{len(rows)} rollouts in {len(groups)} groups {what}."

    def _search(self, text: str) -> list[int]:
        wanted, texts = text.lower(), self.data["text"]
        return [row for row, each in enumerate(texts) if wanted in each.lower()] if wanted else []

    def _odd(self) -> list[int]:
        weights, signs = self.data["weights"], self.data["signs"]
        rows = [row for row, each in enumerate(signs) if each]
        return sorted(rows, key=lambda row: -sum(weights[sign] for sign in signs[row]))

    def _step(self, number: str) -> str:
        if not number.isdigit():
            return "Write a step, such as: s 12"
        steps = [step for step, _, _ in self.data["groups"]]
        self.found = range(len(steps))
        self.at = min(range(len(steps)), key=lambda place: abs(steps[place] - int(number)))
        return ""

    def screen(self) -> Group:
        """Return the group at this place."""
        data = self.data
        step, prompt, size = data["groups"][self.at]
        rows = range(self.starts[self.at], self.starts[self.at] + size)
        head = f"step {step}, group {self.at + 1} of {len(self.starts)}"
        cards = [
            self._card(row) for row in sorted(rows, key=lambda row: -(data["reward"][row] or 0))
        ]
        asked = Panel(
            Group(
                plain(data["prompts"][prompt]),
                *(
                    plain(f"{name}: {value}")
                    for name, value in data["columns"][prompt].items()
                    if name in GOLD
                ),
            ),
            title=head,
            title_align="left",
        )
        return Group(asked, Columns(cards, width=38, expand=True))

    def _card(self, row: int) -> Panel:
        data = self.data
        lines = Text()
        for number, name in enumerate(data["rewards"]):
            reason = data["reasons"][data["why"][number][row]]
            lines.append(f"{name} {_number(data['scores'][number][row])} {reason}\n", "dim")
        if data["signs"][row]:
            lines.append(f"{', '.join(data['signs'][row])}\n", "yellow")
        text = plain(data["text"][row])
        cut = ", truncated" if data["truncated"][row] else ""
        title = f"{_number(data['reward'][row])}, advantage {_number(data['advantage'][row])}{cut}"
        good = (data["advantage"][row] or 0) > 0
        return Panel(
            Group(lines, text), title=title, title_align="left", style="green" if good else ""
        )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def read(data: dict[str, Any], console: Console | None = None) -> None:
    """Show groups until the user quits."""
    out = console or Console(highlight=False)
    rewards = [each["reward"] for each in data["steps"] if each["reward"] is not None]
    if not data["text"]:
        out.print("No rollouts. Train with `grpo_rollouts: true`.")
        return
    if rewards:
        out.print(f"reward {rewards[0]:.2f} {sparkline(rewards)} {rewards[-1]:.2f}")
    reader, message = Reader(data), KEYS
    while True:
        out.print(reader.screen())
        out.print(Text(message or KEYS, "dim"))
        try:
            line = out.input("> ")
        except (EOFError, KeyboardInterrupt):
            return
        if line.strip() == "q":
            return
        message = reader.obey(line)
