"""The reward for programs: what they print or return in a sandbox is held against tests.

Verdicts are made outside of the program's process, which never sees what is expected of it. The table in
tests/rewards/test_code.py has the programs that won the rewards of others without solving anything.
"""

import os
import signal
from collections.abc import Generator
from contextlib import closing
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.completions import read_code
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.code_same import same_output, same_value
from axolotl_grpo_plugin.rewards.code_tests import Tests, read_tests
from axolotl_grpo_plugin.sandbox import Ended, Limits, Sandbox

LONGEST_PROGRAM = 65536  # characters, as on Codeforces

_SCRIPT = Path(sandbox.__file__).with_name("program.py")
_IMPORTS = "bisect collections copy datetime fractions functools heapq itertools math queue random re string"


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
    """1.0 where the completion's Python program passes all tests, else 0.0.

    The program is the last ```python block (`read_code`), the tests are any form that `read_tests` reads;
    None where there are none. Printed lines are compared whole but for spaces at their ends and blank
    lines at the end; numbers that are expected with a decimal point within 1e-6. A program that raises or
    exits with another status than 0 fails.

    Args:
        timeout: seconds for all tests of a program together; less than `grpo_reward_timeout`, which is
            neutral where this is 0.0.
        memory: MiB that each of its processes may take.
        partial: the share of tests that pass instead, beyond those that a program passes which prints
            nothing or returns None; without it, the first that fails is the last run.
        allow_unsafe: where no sandbox works, run programs without one.

    Source: the tests' forms are those of APPS, TACO, MBPP, HumanEval and open-r1.

    >>> code_reward_func([""], ["```python\\nprint(int(input()) * 2)\\n```"], tests=['{"inputs": ["2"], "outputs": ["4"]}'])
    [1.0]
    """
    wanted = read_tests(tests)
    if wanted is None:
        return Score(None, "bad_tests")
    found = read_code(completion)
    if found.text is None:
        return Score(0.0, found.problem)
    if len(found.text) > LONGEST_PROGRAM:
        return Score(0.0, "too_long")
    limits = Limits(seconds=timeout, memory=memory << 20)
    nothing = 0
    if partial:
        nothing, total, _ = _judge_nothing(wanted, limits, allow_unsafe)
        if nothing == total:
            return Score(None, "bad_tests", found.text)
    verdict = _judge(found.text, wanted, limits, partial, allow_unsafe)
    if not verdict.total:
        return Score(None, "bad_tests", found.text)
    share = float(verdict.passed == verdict.total)
    if partial:
        more = verdict.passed - nothing
        share = more / (verdict.total - nothing) if more > 0 else 0.0
    return Score(share, verdict.reason or "correct", found.text)


def _judge_nothing(tests: Tests, limits: Limits, allow_unsafe: bool) -> _Verdict:
    """Judge a program that prints nothing, or whose functions return None."""
    if tests.code:
        return _judge_stubs(tests, limits, allow_unsafe)
    if tests.function:
        passed = sum(same_value(None, expected) for _, expected in tests.cases)
    else:
        passed = sum(same_output("", expected) for _, expected in tests.cases)
    return _Verdict(passed, len(tests.cases), "")


@lru_cache(maxsize=4096)
def _judge_stubs(tests: Tests, limits: Limits, allow_unsafe: bool) -> _Verdict:
    stubs = "\n".join(f"def {name}(*_, **__): return None" for name in tests.names)
    return _judge(stubs, tests, limits, True, allow_unsafe)


@cache
def _sandbox(what: str, limits: Limits, allow_unsafe: bool, process: int) -> Sandbox:
    """One of each for as long as this process lives; it ends with it."""
    return Sandbox(_SCRIPT.read_text(), limits, _IMPORTS.split(), allow_unsafe)


def _judge(
    program: str, tests: Tests, limits: Limits, partial: bool, allow_unsafe: bool
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


def _prints(box: Sandbox, program: str, tests: Tests) -> Generator[str]:
    """For each case, why the program fails it; "" where it does not. Each is a run of its own."""
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


def _calls(box: Sandbox, program: str, tests: Tests) -> Generator[str]:
    """For each case, why the function fails it; "" where it does not."""
    job = box.start({"run": "functions", "program": program})
    # APPS has what is returned in a list, in most of its rows.
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
                yield "no_function" if "missing" in answer else _raised(answer)
            else:
                value = answer["value"]
                right = same_value(value, expected) or (wrapped and same_value(value, expected[0]))
                yield "" if right else "wrong_output"
    finally:
        ended = job.end(stop=True)
    if problem != "":
        yield problem or _why(ended) or "runtime_error"


def _judge_by_code(
    box: Sandbox, other: Sandbox, program: str, tests: Tests, partial: bool
) -> _Verdict:
    """What the tests say, which run in a sandbox of their own and ask the program from there."""
    theirs = box.start({"run": "functions", "program": program})
    problem = theirs.receive()
    if problem != "":
        return _Verdict(0, 1, problem or _why(theirs.end()) or "runtime_error")
    code = {"code": tests.code, "names": tests.names, "modules": tests.modules, "go_on": partial}
    ours = other.start({"run": "tests", "tests": code})
    answer: Any = None
    asked = ours.receive()
    while isinstance(asked, dict) and "done" not in asked:
        theirs.send(asked)
        answer = theirs.receive()
        if not isinstance(answer, dict):
            break
        ours.send(answer)
        asked = ours.receive()
    ended, judged = theirs.end(stop=True), ours.end(stop=True)
    if isinstance(asked, dict) and "done" in asked:
        return _Verdict(**asked["done"])
    return _Verdict(0, 1, _why(ended) or _why(judged) or "runtime_error")


def _raised(answer: dict[str, Any]) -> str:
    return "memory_limit" if answer.get("raised") == "MemoryError" else "runtime_error"


def _why(ended: Ended) -> str:
    """Why a program failed by the way it ended, "" where it did not."""
    if ended.late or ended.exit == -signal.SIGXCPU:
        return "time_limit"
    if ended.flood:
        return "output_limit"
    if ended.exit == 0:
        return ""
    last = ended.stderr.rstrip().rpartition("\n")[2]
    return "memory_limit" if last.startswith("MemoryError") else "runtime_error"
