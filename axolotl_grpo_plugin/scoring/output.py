"""Show the first part of what rewards print, because a reward may print megabytes for each completion."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

LONGEST = 10_000  # characters of a batch, or of the start of the processes


class _Allowance:
    """The number of characters that may still be shown, and of those that were left out."""

    def __init__(self) -> None:
        self.left = LONGEST
        self.left_out = 0


class _CappedStream:
    """A text stream that shows what the allowance lets through. It has the other attributes of its stream."""

    def __init__(self, stream: TextIO, allowance: _Allowance):
        self._stream = stream
        self._allowance = allowance

    def write(self, text: str) -> int:
        shown = text[: self._allowance.left]
        if shown:
            self._stream.write(shown)
        self._allowance.left -= len(shown)
        self._allowance.left_out += len(text) - len(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def capped_output() -> Iterator[None]:
    """Show the first LONGEST characters that this process prints inside a with block, and count the others.

    The scoring processes print through this one. Logging and progress bars keep the stream that they have.
    """
    allowance = _Allowance()
    out: Any = _CappedStream(sys.stdout, allowance)
    err: Any = _CappedStream(sys.stderr, allowance)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        if allowance.left_out:
            print(
                f"\naxolotl-grpo-plugin: the rewards printed {allowance.left_out:,} characters more, "
                "which are left out.",
                file=sys.stderr,
            )
