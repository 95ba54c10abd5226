"""The reward for programs: tests check their output or return values in a sandbox.

The results are compared outside the program's process, which never sees the expected values.
"""

import json
import os
import re
import signal
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.completions import Answer, find_answer
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.programs.same import same_output, same_value
from axolotl_grpo_plugin.rewards.programs.suites import ProgramTests, prepare
from axolotl_grpo_plugin.rewards.programs.tests import Record, Values, read_tests
from axolotl_grpo_plugin.sandbox import Ended, Limits, Sandbox
from axolotl_grpo_plugin.thinking import after_thinking

LONGEST_PROGRAM = 65536  # characters, as on Codeforces

_SANDBOX = Path(sandbox.__file__).parent
# The sandbox imports these modules once, because many programs use them.
_OFTEN_IMPORTED = (
    *("bisect", "collections", "copy", "datetime", "fractions", "functools", "heapq"),
    *("itertools", "math", "queue", "random", "re", "string"),
)

# Libraries that tests use, with the parts that they import late.
_LIBRARIES = ("numpy", "numpy.testing", "pandas", "pandas.testing", "pytest")

_PYTHON = re.compile(r"[{.]*(python|py)[\d.]*(?![\w-])")
# The lines of a block that has only sample tests.
_OF_SAMPLES = re.compile(r"^[^\S\n]*(?:assert|#|import |from ).*", re.MULTILINE)
# The first line of a block: at least three marks, then a label.
_FENCE = re.compile(r"(`{3,}+|~{3,}+)([^`]*)")


class _Verdict(NamedTuple):
    passed: int
    total: int
    reason: str


def _row_problem(tests: object) -> str:
    return "" if read_tests(tests) else f"the tests cannot be judged: {tests!r:.80}"


@reward(
    range=(0.0, 1.0),
    reads="tests",
    reasons="correct wrong_output runtime_error time_limit memory_limit output_limit syntax_error empty_program no_function too_long no_code truncated empty_answer bad_tests".split(),
    ready=sandbox.ready,
    row_problem=_row_problem,
)
def code_reward_func(
    completion: str,
    tests: object,
    timeout: float = 6.0,
    memory: int = 1024,
    partial: bool = False,
    allow_unsafe: bool = False,
) -> Score:
    """Return 1.0 if the completion's Python program passes all tests, else 0.0.

    The program is the last ```python block after the reasoning. The whole output is compared, except spaces
    at the end of lines and blank lines at the end. Expected numbers with a decimal point may differ by 1e-6.
    A program that raises or exits with a status other than 0 fails.

    Args:
        tests: any form that `rewards.programs.tests.read_tests` reads. If there are no tests, the score is None.
        timeout: seconds for all tests of a program together. If scoring takes five times
            `grpo_reward_timeout` in wall time, the score is None in place of 0.0.
        memory: MiB per process of the program.
        partial: return the share of tests that pass. A test does not count if a program passes it that
            prints nothing or returns None. Without this option, the first failure ends the tests.
        allow_unsafe: if no sandbox works, run programs without one.

    Source: the forms of tests in APPS, TACO, MBPP, HumanEval and open-r1.

    >>> code_reward_func([""], ["```python\\nprint(int(input()) * 2)\\n```"], tests=['{"inputs": ["2"], "outputs": ["4"]}'])
    [1.0]
    """
    text = tests if isinstance(tests, str) else json.dumps(tests, default=str)
    checks = read_tests(text)
    if checks is None:
        return Score(None, "bad_tests")
    program = read_code(completion, checks.defined)
    if program.text is None:
        return Score(0.0, program.problem)
    if len(program.text) > LONGEST_PROGRAM:
        return Score(0.0, "too_long")
    limits = Limits(seconds=timeout, memory=memory << 20)
    nothing = 0
    if partial:
        nothing, total, _ = _judge_nothing(text, limits, allow_unsafe)
        if nothing == total:
            return Score(None, "bad_tests", program.text)
    verdict = _judge(program.text, checks, limits, partial, allow_unsafe)
    share, reason = 0.0, verdict.reason
    if not verdict.total:
        return Score(None, "bad_tests", program.text)
    if verdict.passed == verdict.total:
        share, reason = 1.0, "correct"
    elif partial and verdict.passed > nothing:
        share = (verdict.passed - nothing) / (verdict.total - nothing)
    return Score(share, reason, program.text)


def read_code(text: str, names: Sequence[str] = ()) -> Answer:
    """Return the Python program of a completion: the last ```python block after the reasoning.

    names: what the program should define. A later block that only tests or calls them is not the program.
    If there is an `<answer>`, only its text is read. Without a ```python block, the last block without a
    label is the program, or else the whole answer. Only as many of the same marks close a block.
    Problems: "no_code", "truncated", "empty_answer".
    """
    answer = find_answer(text, ["tag"])
    if answer.problem in ("truncated", "empty_answer"):
        return answer
    text = answer.text or after_thinking(text)
    blocks, is_open = _fenced_blocks(text)
    for label in ("python", ""):
        if label in blocks:
            return Answer(_program_of(blocks[label], names))
    if is_open:
        return Answer(None, "truncated")
    if answer.text is None or blocks:
        return Answer(None, "no_code")
    return answer


def _program_of(blocks: list[str], names: Sequence[str]) -> str:
    """Return the last block that defines one of the names, or else the last one that has not only tests."""
    either = "|".join(map(re.escape, names)) or "$^"
    defines = re.compile(rf"^\s*(?:def|class) +(?:{either})\b|^(?:{either}) *=[^=]", re.MULTILINE)
    for block in reversed(blocks):
        if defines.search(block):
            return block
    for block in reversed(blocks):
        if _OF_SAMPLES.sub("", block).strip():
            return block
    return blocks[-1]


def _fenced_blocks(text: str) -> tuple[dict[str, list[str]], bool]:
    """Return the Markdown blocks of each label, and whether a block was left open."""
    blocks: dict[str, list[str]] = {}
    fence = label = indent = ""
    lines: list[str] = []
    for line in text.split("\n"):
        mark = line.strip()
        if not fence:
            opened = _FENCE.fullmatch(mark)
            if opened:
                fence, word = opened.groups()
                label = word.strip().lower()
                indent = line[: len(line) - len(line.lstrip())]
                lines = []
            continue
        is_glued = mark.endswith(fence) and mark.count(fence) == 1
        is_closed = mark.startswith(fence) and not mark.strip(fence[0])
        if is_glued and not is_closed:
            line = line.rstrip().removesuffix(fence)
        if not is_closed:
            lines.append(line.removeprefix(indent))
        if is_closed or is_glued:
            name = "python" if _PYTHON.match(label) else label
            blocks.setdefault(name, []).append("\n".join(lines))
            fence = ""
    return blocks, bool(fence)


@lru_cache(maxsize=4096)
def _judge_nothing(text: str, limits: Limits, allow_unsafe: bool) -> _Verdict:
    """Judge a program that prints nothing, and whose functions return None. text: the tests as JSON."""
    tests = read_tests(text) or ProgramTests()
    stubs = ["nothing = None"]
    for name in tests.defined:
        stubs.append(f"def {name}(*_, **__): return None")
    return _judge("\n".join(stubs), tests, limits, True, allow_unsafe)


@cache
def _sandbox(
    libraries: tuple[str, ...], limits: Limits, allow_unsafe: bool, process: int
) -> Sandbox:
    """Return the sandbox of this process that has imported libraries. A child process needs its own."""
    imports = [*_OFTEN_IMPORTED, *libraries]
    parts = {name: (_SANDBOX / f"{name}.py").read_text() for name in ("objects", "suite")}
    script = (_SANDBOX / "program.py").read_text()
    return Sandbox(script, limits, imports, allow_unsafe, parts)


def _judge(
    program: str, tests: ProgramTests, limits: Limits, partial: bool, allow_unsafe: bool
) -> _Verdict:
    # A library that is there before the program gets back what the program replaced in it.
    libraries = tuple(name for name in _LIBRARIES if name.partition(".")[0] in tests.code)
    box = _sandbox(libraries, limits, allow_unsafe, os.getpid())
    if tests.code:
        return _judge_by_code(box, program, tests, partial)
    run = _calls if tests.function else _prints
    passed, first = 0, ""
    with closing(run(box, program, tests)) as reasons:
        for reason in reasons:
            if not reason:
                passed += 1
                continue
            first = first or reason
            if not partial:
                break
    return _Verdict(passed, len(tests.cases), first)


def _prints(box: Sandbox, program: str, tests: ProgramTests) -> Generator[str]:
    """Run the program once per case. Yield why it fails, or "" if it passes."""
    left = box.limits.seconds
    for given, expected in tests.cases:
        if left <= 0:
            yield "time_limit"
            return
        job = box.start({"program": program, "job": "print"}, given, left)
        problem = job.receive()
        ended = job.end()
        left -= ended.seconds
        if problem:
            yield problem
            return
        reason = _why(ended)
        if not reason and not same_output(ended.stdout, expected):
            reason = "wrong_output"
        yield reason


def _calls(box: Sandbox, program: str, tests: ProgramTests) -> Generator[str]:
    """Call the function once per case. Yield why it fails, or "" if it passes."""
    job = box.start({"program": program, "job": "call"})
    # In most rows of APPS, a list encloses the expected value.
    wrapped = not tests.exact
    for _, wanted in tests.cases:
        wrapped = wrapped and isinstance(wanted, list) and len(wanted) == 1
    try:
        problem = job.receive()
        if problem == "" and job.receive() != "loaded":
            problem = None  # the program ended
        if problem == "":
            for given, wanted in tests.cases:
                job.send({"name": tests.function, "arguments": given})
                answer = job.receive()
                if not isinstance(answer, dict):
                    problem = None  # the program ended
                    break
                yield _why_wrong(answer, [wanted, *wanted] if wrapped else [wanted])
    finally:
        ended = job.end(stop=True)
    if problem != "":
        yield problem or _why(ended) or "runtime_error"


def _why_wrong(answer: Record, right: Values) -> str:
    """Return why the answer to a call is wrong, or ""."""
    if "missing" in answer:
        return "no_function"
    if "value" not in answer:
        return "memory_limit" if answer.get("raised") == "MemoryError" else "runtime_error"
    if any(same_value(answer["value"], wanted) for wanted in right):
        return ""
    return "wrong_output"


def _judge_by_code(box: Sandbox, program: str, tests: ProgramTests, partial: bool) -> _Verdict:
    """Run tests that are code. Only if they need real objects, they run in the program's process."""
    jobs = ["test_together"] if tests.together else ["test_apart", "test_together"]
    code, imports = prepare(tests)
    left = box.limits.seconds
    for name in jobs:
        request = {"program": program, "job": name, "imports": imports, "names": tests.names}
        job = box.start(request, seconds=left)
        problem = job.receive()
        answer, token = None, ""
        if problem == "" and job.receive() == "loaded":
            # The program could not know the token when it started, so it could not prepare a verdict.
            token = os.urandom(16).hex()
            asked = {"code": code, "go_on": partial, "sees_changes": tests.sees_changes}
            job.send({**asked, "token": token})
            answer = job.receive()
        match answer:
            case [sent, int(passed), int(total), str(reason)] if sent == token:
                job.end(stop=True)
                return _Verdict(passed, total, reason)
            case "needs_objects" if name == "test_apart":
                left -= job.end(stop=True).seconds
                if left <= 0:
                    return _Verdict(0, 1, "time_limit")
            case _:
                break
    total = 0 if problem == "bad_tests" else 1
    return _Verdict(0, total, problem or _why(job.end()) or "runtime_error")


def _why(ended: Ended) -> str:
    """Return why a program failed because of its end, or "" if it ended well."""
    if ended.late or ended.exit == -signal.SIGXCPU:
        return "time_limit"
    if ended.flood:
        return "output_limit"
    if ended.exit == 0:
        return ""
    last = ended.stderr.rstrip().rpartition("\n")[2]
    return "memory_limit" if last.startswith("MemoryError") else "runtime_error"
