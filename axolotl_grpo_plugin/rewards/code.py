"""The reward for programs: tests check their output or return values in a sandbox.

The results are compared outside the program's process, which never sees the expected values.
"""

import os
import signal
from collections.abc import Generator
from contextlib import closing
from functools import cache, lru_cache
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.completions import Answer, after_reasoning, find_answer
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.code_same import same_output, same_value
from axolotl_grpo_plugin.rewards.code_tests import ProgramTests, read_tests
from axolotl_grpo_plugin.sandbox import Ended, Limits, Sandbox

LONGEST_PROGRAM = 65536  # characters, as on Codeforces

_SCRIPT = Path(sandbox.__file__).with_name("program.py")
_IMPORTS = "bisect collections copy datetime fractions functools heapq itertools math queue random re string"

_PYTHON = ("python", "py", "python3")


class _Verdict(NamedTuple):
    passed: int
    total: int
    reason: str


@reward(
    range=(0.0, 1.0),
    reads="tests",
    reasons="correct wrong_output runtime_error time_limit memory_limit output_limit syntax_error empty_program no_function too_long no_code truncated empty_answer bad_tests".split(),
    ready=sandbox.ready,
)
def code_reward_func(
    completion: str,
    tests: Any,
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
        tests: any form that `rewards.code_tests.read_tests` reads. If there are no tests, the score is None.
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
    checks = read_tests(tests)
    if checks is None:
        return Score(None, "bad_tests")
    program = read_code(completion)
    if program.text is None:
        return Score(0.0, program.problem)
    if len(program.text) > LONGEST_PROGRAM:
        return Score(0.0, "too_long")
    limits = Limits(seconds=timeout, memory=memory << 20)
    nothing = 0
    if partial:
        nothing, total, _ = _judge_nothing(checks, limits, allow_unsafe)
        if nothing == total:
            return Score(None, "bad_tests", program.text)
    verdict = _judge(program.text, checks, limits, partial, allow_unsafe)
    if not verdict.total:
        return Score(None, "bad_tests", program.text)
    share = float(verdict.passed == verdict.total)
    if partial:
        more = verdict.passed - nothing
        share = more / (verdict.total - nothing) if more > 0 else 0.0
    return Score(share, verdict.reason or "correct", program.text)


def read_code(text: str) -> Answer:
    """Return the Python program of a completion: the last ```python block after the reasoning.

    If there is an `<answer>`, only its text is read. Without a ```python block, the last block without a
    label is the program, or else the whole answer. A line of only as many of the same marks closes a block.
    Problems: "no_code", "truncated", "empty_answer".
    """
    answer = find_answer(text, ["tag"])
    if answer.problem in ("truncated", "empty_answer"):
        return answer
    blocks: dict[str, str] = {}
    opened, label, lines = "", "", list[str]()
    for line in (answer.text or after_reasoning(text)).split("\n"):
        mark = line.lstrip()
        if not opened:
            fence = mark[: len(mark) - len(mark.lstrip(mark[:1]))]
            label = mark[len(fence) :].strip()
            if fence[:1] in ("`", "~") and len(fence) >= 3 and "`" not in label:
                opened, indent, lines = fence, line[: len(line) - len(mark)], []
        elif mark.startswith(opened) and not mark.strip().strip(opened[0]):
            word = label.lower().partition(" ")[0]
            blocks["python" if word in _PYTHON else word] = "\n".join(lines)
            opened = ""
        else:
            lines.append(line.removeprefix(indent))
    for label in ("python", ""):
        if label in blocks:
            return Answer(blocks[label])
    if opened or answer.text is None or blocks:
        return Answer(None, "truncated" if opened else "no_code")
    return answer


def _judge_nothing(tests: ProgramTests, limits: Limits, allow_unsafe: bool) -> _Verdict:
    """Judge a program that prints nothing, or whose functions return None."""
    if tests.code:
        return _judge_stubs(tests, limits, allow_unsafe)
    if tests.function:
        passed = sum(same_value(None, expected) for _, expected in tests.cases)
    else:
        passed = sum(same_output("", expected) for _, expected in tests.cases)
    return _Verdict(passed, len(tests.cases), "")


@lru_cache(maxsize=4096)
def _judge_stubs(tests: ProgramTests, limits: Limits, allow_unsafe: bool) -> _Verdict:
    stubs = "\n".join(f"def {name}(*_, **__): return None" for name in tests.names)
    return _judge(stubs, tests, limits, True, allow_unsafe)


@cache
def _sandbox(purpose: str, limits: Limits, allow_unsafe: bool, process: int) -> Sandbox:
    """Return the sandbox of this process for a purpose. A child process needs its own."""
    return Sandbox(_SCRIPT.read_text(), limits, _IMPORTS.split(), allow_unsafe)


def _judge(
    program: str, tests: ProgramTests, limits: Limits, partial: bool, allow_unsafe: bool
) -> _Verdict:
    box = _sandbox("program", limits, allow_unsafe, os.getpid())
    if tests.code:
        other = _sandbox("tests", limits, allow_unsafe, os.getpid())
        return _judge_by_code(box, other, program, tests, partial)
    runs = _calls if tests.function else _prints
    passed, first = 0, ""
    with closing(runs(box, program, tests)) as reasons:
        for reason in reasons:
            passed += not reason
            first = first or reason
            if reason and not partial:
                break
    return _Verdict(passed, len(tests.cases), first)


def _prints(box: Sandbox, program: str, tests: ProgramTests) -> Generator[str]:
    """Run the program once per case. Yield why it fails, or "" if it passes."""
    left = box.limits.seconds
    for given, expected in tests.cases:
        if left <= 0:
            yield "time_limit"
            return
        job = box.start({"run": "program", "program": program}, given, left)
        problem = job.receive()
        ended = job.end()
        left -= ended.seconds
        if problem:
            yield problem
            return
        yield _why(ended) or ("" if same_output(ended.stdout, expected) else "wrong_output")


def _calls(box: Sandbox, program: str, tests: ProgramTests) -> Generator[str]:
    """Call the function once per case. Yield why it fails, or "" if it passes."""
    job = box.start({"run": "functions", "program": program})
    # In most rows of APPS, a list encloses the expected value.
    wrapped = not tests.exact and all(
        isinstance(each, list) and len(each) == 1 for _, each in tests.cases
    )
    try:
        problem = job.receive()
        for given, expected in tests.cases if problem == "" else ():
            job.send({"do": "plain", "name": tests.function, "arguments": given})
            answer = job.receive()
            if not isinstance(answer, dict):
                problem = None
                break
            if "value" not in answer:
                is_full = answer.get("raised") == "MemoryError"
                why = "memory_limit" if is_full else "runtime_error"
                yield "no_function" if "missing" in answer else why
            else:
                value = answer["value"]
                right = same_value(value, expected) or (wrapped and same_value(value, expected[0]))
                yield "" if right else "wrong_output"
    finally:
        ended = job.end(stop=True)
    if problem != "":
        yield problem or _why(ended) or "runtime_error"


def _judge_by_code(
    box: Sandbox, other: Sandbox, program: str, tests: ProgramTests, partial: bool
) -> _Verdict:
    """Run the tests in a sandbox of their own, and pass their calls on to the program's sandbox."""
    theirs = box.start({"run": "functions", "program": program})
    problem = theirs.receive()
    if problem != "":
        return _Verdict(0, 1, problem or _why(theirs.end()) or "runtime_error")
    code = {"code": tests.code, "names": tests.names, "modules": tests.modules, "go_on": partial}
    ours = other.start({"run": "tests", "tests": code})
    request = ours.receive()
    began, late = process_time(), False
    while isinstance(request, dict) and "done" not in request:
        # An endless iterator costs this process more than the two jobs.
        if late := process_time() - began > box.limits.seconds:
            break
        theirs.send(request)
        answer: Any = theirs.receive()
        if not isinstance(answer, dict):
            break
        ours.send(answer)
        request = ours.receive()
    ended, judged = theirs.end(stop=True), ours.end(stop=True)
    if isinstance(request, dict) and "done" in request:
        return _Verdict(**request["done"])
    why = "time_limit" if late else _why(ended) or _why(judged)
    return _Verdict(0, 1, why or "runtime_error")


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
