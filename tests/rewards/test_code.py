"""The scores of the code reward: tables of programs, and properties of all programs."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.rewards.code import code_reward_func, read_code
from axolotl_grpo_plugin.rewards.programs.same import same_output, same_value
from axolotl_grpo_plugin.rewards.programs.suites import ProgramTests
from axolotl_grpo_plugin.rewards.programs.tests import read_tests

QUICK = code_reward_func.bind(timeout=0.9, memory=256)

try:
    sandbox.ready()
except sandbox.SandboxError as none:
    pytest.skip(str(none), allow_module_level=True)


def fenced(program):
    return f"I try this.\n```python\n{textwrap.dedent(program)}\n```\nThat is it."


def judge(program, tests, **options):
    reward = QUICK.bind(**options) if options else QUICK
    value, reason, _ = reward.score(fenced(program), tests=json.dumps(tests))
    return value, reason


DOUBLE = {"inputs": ["1\n", "21\n"], "outputs": ["2\n", "42\n"]}
LINES = {"inputs": ["3"], "outputs": ["1\n2\n3"]}
ADD = {"fn_name": "add", "inputs": [[1, 2], [2, 2]], "outputs": [3, 4]}
ASSERTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]
CHECK = {
    "functional": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4",
    "entry_point": "add",
}
CLOSE = {"functional": "import math\nassert math.isclose(half(1), 0.5, rel_tol=0.001)"}
ECHO = "import sys\nsys.stdout.write(sys.stdin.read())"

# program, tests, reason
CONTRACT = [
    ("print(int(input()) * 2)", DOUBLE, "correct"),
    ("import sys\nprint(2 * int(sys.stdin.readline()))", DOUBLE, "correct"),
    ("n = int(open(0).read())\nprint(n + n, end='')", DOUBLE, "correct"),
    ("def main():\n    print(int(input()) * 2)\nif __name__ == '__main__':\n    main()", DOUBLE, "correct"),
    ("import sys\nprint(int(input()) * 2)\nsys.exit(0)", DOUBLE, "correct"),
    ("import sys\nprint(int(input()) * 2)\nsys.exit()", DOUBLE, "correct"),
    ("print(int(input()) * 2)\nexit()", DOUBLE, "correct"),
    ("print(int(input()) * 2)\nquit(0)", DOUBLE, "correct"),
    ("print(int(input()) * 2)\nexit(1)", DOUBLE, "runtime_error"),
    ("import os\nprint(int(input()) * 2, flush=True)\nos._exit(0)", DOUBLE, "correct"),
    ("print(int(input()) * 2, '  \\n\\n')", DOUBLE, "correct"),
    ("import sys\nprint('debug', file=sys.stderr)\nprint(int(input()) * 2)", DOUBLE, "correct"),
    ("import threading\nthreading.Thread(target=lambda: print(int(input()) * 2)).start()", DOUBLE, "correct"),
    (
        "import atexit, io, sys\nreal, sys.stdout = sys.stdout, io.StringIO()\n"
        "@atexit.register\ndef flush(): real.write(sys.stdout.getvalue())\nprint(int(input()) * 2)",
        DOUBLE,
        "correct",
    ),
    ("import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else f(n - 1)\nf(50000)\n"
     "print(int(input()) * 2)", DOUBLE, "correct"),
    ("print(int(input()) + 1)", DOUBLE, "wrong_output"),
    ("print(2)", DOUBLE, "wrong_output"),
    (ECHO, DOUBLE, "wrong_output"),
    ("print(int(input()) * 2)\nraise SystemExit(1)", DOUBLE, "runtime_error"),
    ("print(int(input()) * 2)\n1 / 0", DOUBLE, "runtime_error"),
    ("input()\ninput()", DOUBLE, "runtime_error"),
    ("import os\nprint(int(input()) * 2, flush=True)\nos.kill(os.getpid(), 11)", DOUBLE, "runtime_error"),
    ("print(int(input()) * 2", DOUBLE, "syntax_error"),
    ("print(1)\x00", DOUBLE, "syntax_error"),
    ("(" * 5000, DOUBLE, "syntax_error"),
    ("print(" + "-" * 5000 + "1)", DOUBLE, "syntax_error"),
    ("int main() { return 0; }", DOUBLE, "syntax_error"),
    ("while True: pass", DOUBLE, "time_limit"),
    ("import time\nprint(int(input()) * 2, flush=True)\ntime.sleep(60)", DOUBLE, "time_limit"),
    ("try:\n    while True: pass\nfinally:\n    print(int(input()) * 2)", DOUBLE, "time_limit"),
    ("x = bytes(1 << 30)", DOUBLE, "memory_limit"),
    ("while True: print('x' * 1_000_000)", DOUBLE, "output_limit"),
    # open-r1 paid for a prefix of the expected output, for more, and for nothing.
    ("print(1)\nprint(2)\nprint(3)", LINES, "correct"),
    ("print(1)\nprint(2)", LINES, "wrong_output"),
    ("print(1)\nprint(2)\nprint(3)\nprint(4)", LINES, "wrong_output"),
    ("print()\nprint(1)\nprint(2)\nprint(3)", LINES, "wrong_output"),
    ("print(1)\n\nprint(2)\nprint()\nprint(3)", LINES, "wrong_output"),
    ("print(1, 2, 3)", LINES, "wrong_output"),
    ("x = 1", LINES, "wrong_output"),
    # An empty program earns nothing, even if no output is expected.
    ("", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("...", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("pass", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("# print(1)", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("'''print(1)'''\nimport sys, os\nfrom math import *\npass", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("def f():\n    '''Nothing.'''\nclass A:\n    def g(self): ...", {"inputs": [""], "outputs": [""]}, "empty_program"),
    ("def add(a, b): pass", ADD, "empty_program"),
    # Numbers
    ("print(1 / 3)", {"inputs": [""], "outputs": ["0.33333333"]}, "correct"),
    ("print('x =', 2)", {"inputs": [""], "outputs": ["x = 2.0"]}, "correct"),
    ("print('1e-1')", {"inputs": [""], "outputs": ["0.1"]}, "correct"),
    ("print(0.334)", {"inputs": [""], "outputs": ["0.33333333"]}, "wrong_output"),
    ("print('x=0.3333333')", {"inputs": [""], "outputs": ["x=0.333333333"]}, "correct"),
    ("print('y=0.3333333')", {"inputs": [""], "outputs": ["x=0.333333333"]}, "wrong_output"),
    ("print('nan')", {"inputs": [""], "outputs": ["0.5"]}, "wrong_output"),
    ("print('1' * 1_000_000 + 'x')", {"inputs": [""], "outputs": ["0.5"]}, "wrong_output"),
    ("print('0_0.5')", {"inputs": [""], "outputs": ["0.5"]}, "wrong_output"),
    ("print(3.0)", {"inputs": [""], "outputs": ["3"]}, "wrong_output"),
    ("print(10**9999)", {"inputs": [""], "outputs": ["1" + "0" * 9999]}, "correct"),
    ("print(10**20 + 1)", {"inputs": [""], "outputs": [str(10**20)]}, "wrong_output"),
    ("print(1, 0.5)", {"inputs": [""], "outputs": ["2 0.5"]}, "wrong_output"),
    ("print('  *')", {"inputs": [""], "outputs": ["  *"]}, "correct"),
    ("print('*')", {"inputs": [""], "outputs": ["  *"]}, "wrong_output"),
    # Functions
    ("def add(a, b): return a + b", ADD, "correct"),
    ("add = lambda a, b: a + b", ADD, "correct"),
    ("class Solution:\n    def add(self, a: List[int], b: Optional[int]): return a + b", ADD, "correct"),
    ("def add(a, b):\n    print('noise')\n    return a + b\nprint('more')", ADD, "correct"),
    ("def add(a, b): return a + b\nif __name__ == '__main__':\n    print(add(int(input()), 1))", ADD, "correct"),
    ("def add(a, b): return a - b", ADD, "wrong_output"),
    ("def add(a, b): return str(a + b)", ADD, "wrong_output"),
    ("def add(a, b): print(a + b)", ADD, "wrong_output"),
    ("def plus(a, b): return a + b", ADD, "no_function"),
    ("add = 3", ADD, "runtime_error"),
    ("def add(a): return a", ADD, "runtime_error"),
    ("def add(a, b):\n    while True: pass", ADD, "time_limit"),
    ("def add(a, b): return bytes(1 << 30)", ADD, "memory_limit"),
    ("def add(a, b): return 'x' * 10_000_000", ADD, "output_limit"),
    ("def add(a, b): return {1, 2}", ADD, "runtime_error"),
    ("def add(a, b): return 10 ** 10000", ADD, "runtime_error"),
    ("x = []\nx.append(x)\ndef add(a, b): return x", ADD, "runtime_error"),
    ("def f(): return (1, [2, (3,)])", {"fn_name": "f", "inputs": [[]], "outputs": [[1, [2, [3]]]]}, "correct"),
    ("def f(): return {1: 0.1 + 0.2}", {"fn_name": "f", "inputs": [[]], "outputs": [{"1": 0.3}]}, "correct"),
    ("def f(): return {1: 0.5}", {"fn_name": "f", "inputs": [[]], "outputs": [{"1": 0.3}]}, "wrong_output"),
    ("def f(): return [1]", {"fn_name": "f", "inputs": [[]], "outputs": [[1, 2]]}, "wrong_output"),
    ("def f(): return 10 ** 400", {"fn_name": "f", "inputs": [[]], "outputs": [0.5]}, "wrong_output"),
    ("def f(): return 5", {"fn_name": "f", "inputs": [[]], "outputs": [float("inf")]}, "wrong_output"),
    ("def f(): return 7", {"fn_name": "f", "inputs": [[]], "outputs": [[7]]}, "correct"),
    ("def f(a): return a", {"fn_name": "f", "inputs": [[7], [8]], "outputs": [[7], 8]}, "wrong_output"),
    ("import numpy\ndef f(): return numpy.arange(2)", {"fn_name": "f", "inputs": [[]], "outputs": [[0, 1]]}, "correct"),
    # Tests that are code
    ("def add(a, b): return a + b", ASSERTS, "correct"),
    ("def add(a, b): return a + b", CHECK, "correct"),
    ("def add(a, b): return a - b", ASSERTS, "wrong_output"),
    ("def add(a, b): return a - b", CHECK, "wrong_output"),
    ("def add(a, b): return 3", CHECK, "wrong_output"),
    ("def plus(a, b): return a + b", ASSERTS, "no_function"),
    ("def plus(a, b): return a + b", CHECK, "no_function"),
    ("def add(a, b): return 1 / 0", CHECK, "runtime_error"),
    ("1 / 0\ndef add(a, b): return a + b", CHECK, "runtime_error"),
    ("def add(a, b):\n    while True: pass", CHECK, "time_limit"),
    ("while True: pass", CHECK, "time_limit"),
    ("def add(a, b): return bytes(1 << 30)", ASSERTS, "runtime_error"),
    ("def add(a, b): return 'x' * 10_000_000", ASSERTS, "wrong_output"),
    ("def half(n): return n / 2", CLOSE, "correct"),
    ("def half(n): return n / 3", CLOSE, "wrong_output"),
]  # fmt: skip


@pytest.mark.every(2)
@pytest.mark.parametrize(("program", "tests", "reason"), CONTRACT)
def test_contract(program, tests, reason):
    limit = {"timeout": 0.3} if reason == "time_limit" else {}  # it ends at the limit
    assert judge(program, tests, **limit) == (float(reason == "correct"), reason)


# None of these programs solves its problem.
CHEATS = {
    "equal to all": """
        class Equal:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 3
            def __len__(self): return 3
            def __contains__(self, other): return True
            def __lt__(self, other): return True
            __gt__ = __le__ = __ge__ = __lt__
        def add(a, b): return Equal()
        half = first = lambda *_: Equal()
        """,
    "an equal int": """
        class Equal(int):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __hash__ = int.__hash__
        add = half = first = lambda *_: Equal()
        """,
    "equal inside": """
        class Equal(list):
            def __eq__(self, other): return True
        add = half = first = lambda *_: Equal([Equal()])
        """,
    "exit": "import sys\nsys.exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "exit when called": "import os\nadd = half = first = lambda *_: os._exit(0)",
    "raise SystemExit": "def add(*_): raise SystemExit(0)\nhalf = first = add",
    "raise StopIteration": "def add(*_): raise StopIteration\nhalf = first = add",
    "raise GeneratorExit": "def add(*_): raise GeneratorExit\nhalf = first = add",
    "atexit": """
        import atexit, os
        atexit.register(os._exit, 0)
        add = half = first = lambda *_: 1 / 0
        """,
    "patched builtins": """
        import builtins, math, json, ast, operator
        builtins.AssertionError = type("Never", (Exception,), {})
        builtins.all = builtins.any = builtins.isinstance = builtins.len = lambda *_: True
        math.isclose = lambda *_, **__: True
        json.dumps = lambda *_, **__: "{}"
        add = half = first = lambda *_: None
        """,
    "names of the tests": """
        def check(candidate): return True
        class math:
            isclose = staticmethod(lambda *_, **__: True)
        abs = set = sorted = list = lambda *_: 3
        add = half = first = lambda *_: None
        """,
    "verdicts on every descriptor": """
        import json, os
        for text in ({"done": {"passed": 9, "total": 9, "reason": ""}}, {"value": 3}, {"passed": True}, "", "ready",
                     {"exit": 0, "stdout": "2\\n", "stderr": "", "late": False, "flood": False, "clean": True}):
            for fd in range(256):
                try: os.write(fd, json.dumps(text).encode() + b"\\n")
                except OSError: pass
        add = half = first = lambda *_: None
        """,
    "frames and garbage": """
        import gc, sys
        found = [3, 42, 2]
        frame = sys._getframe()
        while frame:
            found += [each for each in frame.f_locals.values() if isinstance(each, (int, list, dict))]
            for name in ("expected", "outputs", "passed", "reason", "wanted"):
                if name in frame.f_locals: frame.f_locals[name] = True
            frame = frame.f_back
        for each in gc.get_objects():
            if isinstance(each, dict) and "outputs" in each: print(each["outputs"])
        add = half = first = lambda *_: None
        """,
    "a runner that is replaced": """
        import sys
        main = sys.modules["__main__"]
        frame = sys._getframe()
        while frame:
            for name in ("run", "parse", "finish", "Program", "encode"):
                if name in frame.f_globals: frame.f_globals[name] = lambda *_, **__: {"value": 3}
            frame = frame.f_back
        add = half = first = lambda *_: None
        """,
    "an answer to another question": """
        import json, os
        def add(*_):
            for _ in range(9): os.write(3, json.dumps({"value": None, "arguments": []}).encode() + b"\\n")
            return 1 / 0
        half = first = add
        """,
    "a callback that is none": """
        import json, os
        def add(*_):
            os.write(3, b'{"back": 0, "arguments": []}\\n{"done": {"passed": 1, "total": 1, "reason": ""}}\\n')
            return 1 / 0
        half = first = add
        """,
    "prints its input": ECHO,
    "prints nothing": "x = 1",
}
FIRST = {"functional": "import math\ncases = [('ab', 'a')]\nassert all(map(lambda c: first(c[0]) == c[1], cases))"}


@pytest.mark.every(5)
@pytest.mark.parametrize(
    "tests", [DOUBLE, ADD, ASSERTS, CHECK, CLOSE, FIRST], ids="prints calls asserts check close all".split()
)
@pytest.mark.parametrize("cheat", CHEATS)
def test_exploits_score_zero(cheat, tests):
    value, reason = judge(CHEATS[cheat], tests, partial=True)
    assert value == 0.0, reason


def test_program_never_sees_expected_values():
    """The program searches its memory, and finds only its inputs."""
    program = """
        import ctypes, re
        said = input()
        found = False
        for line in open("/proc/self/maps"):
            if " rw" in line:
                start, end = (int(each, 16) for each in line.split()[0].split("-"))
                found |= bool(re.search(rb"here[-]it[-]is", ctypes.string_at(start, end - start)))
        print(found)
    """
    tests = {"inputs": ["here-it-is", "a", "a"], "outputs": ["True", "False", "here-it-is"]}
    assert judge(program, tests, partial=True) == (pytest.approx(2 / 3), "wrong_output")
    assert judge(program, {**tests, "outputs": ["True", "False", "False"]}) == (1.0, "correct")


# More forms of tests and programs
@pytest.mark.parametrize(
    ("program", "tests", "reason"),
    [
        ("def f(x): return tuple(x)", ["assert f([1]) == (1,)", "assert isinstance(f([]), tuple)"], "correct"),
        ("def f(x): return list(x)", ["assert f([1]) == (1,)"], "wrong_output"),
        ("def f(x): return {1: {2}, 'a': None, (1,): b'x', 2.5: 1j, 3: frozenset([1])}",
         ["assert f(1) == {1: {2}, 'a': None, (1,): b'x', 2.5: 1j, 3: frozenset([1])}"], "correct"),
        ("def f(x): return 10 ** 5000", ["assert f(1) == 10 ** 5000"], "correct"),
        ("def f(x): return float(x)", ["assert f('inf') == float('inf')", "assert f('nan') != f('nan')"], "correct"),
        ("def f(x): x.sort()", ["x = [2, 1]\nassert f(x) is None\nassert x == [1, 2]"], "correct"),
        ("def f(x): x['a'] = 1", ["x = {}\nf(x)\nassert x == {'a': 1}"], "correct"),
        ("def f(x):\n    for i in range(x): yield i", ["assert list(f(3)) == [0, 1, 2]"], "correct"),
        ("def f(x): raise ValueError('no')", ["try:\n    f(1)\n    assert False\nexcept ValueError as e:\n    assert str(e) == 'no'"], "correct"),
        ("class Own(Exception): pass\ndef f(x): raise Own", ["try:\n    f(1)\n    assert False\nexcept ValueError:\n    pass"], "runtime_error"),
        ("class A:\n    def __init__(self, n): self.n = n\n    def up(self, by=1):\n        self.n += by\n        return self.n\n"
         "    def __len__(self): return self.n\n    def __str__(self): return f'A{self.n}'",
         ["a = A(1)\nassert a.up() == 2\nassert a.up(by=2) == 4\nassert a.n == 4\nassert len(a) == 4\nassert str(a) == 'A4'"], "correct"),
        ("def f(g, x): return [g(each) for each in x]", ["assert f(lambda n: n + 1, [1, 2]) == [2, 3]"], "correct"),
        ("def f(n): return lambda m: n + m", ["assert f(1)(2) == 3"], "correct"),
        ("LIMIT = 7", ["assert LIMIT == 7"], "correct"),
        ("def f(x): return x", ["from solution import f\nassert f(1) == 1"], "correct"),
        ("def g(x): return x", ["from solution import f\nassert f(1) == 1"], "no_function"),
        ("def f(x): return x", ["from solution import *\nassert f(1) == 1"], "correct"),
        ("def f(x): return x", ["def test_a():\n    assert f(1) == 1\ndef test_b():\n    assert f(2) == 2"], "correct"),
        ("def f(x): return 1", ["def test_a():\n    assert f(1) == 1\ndef test_b():\n    assert f(2) == 2"], "wrong_output"),
        ("def f(x): return x", ["for i in range(3):\n    assert f(i) == i"], "correct"),
        ("def f(x): return x / 3", ["assert math.isclose(f(1), 0.3333333, rel_tol=1e-3)"], "correct"),
        ("import numpy as np\ndef f(x): return np.ones(x)", ["import numpy as np\nassert np.allclose(f(2), [1, 1])"], "correct"),
        # An object whose items equal any two numbers: numpy must not read them.
        ("class Equal:\n    __array_interface__ = {'shape': (0, 1), 'typestr': '<f8', 'data': b'', 'version': 3}\n"
         "def f(x): return Equal()", ["import numpy as np\nassert np.allclose(f(2), [1, 1])"], "runtime_error"),
        ("class Node:\n    def __init__(self): self.next = None\ndef size(node): return 1 + size(node.next) if node else 0",
         ["a = Node()\na.next = Node()\nassert size(a) == 2"], "correct"),
        ("from fractions import Fraction\nfrom decimal import Decimal\nfrom collections import deque\nimport datetime as d\n"
         "def f(): return [Fraction(1, 3), Decimal('1.50'), deque([1]), range(3), d.date(2024, 2, 29), "
         "d.datetime(2024, 2, 29, 1), d.timedelta(1)]",
         ["from fractions import Fraction\nfrom decimal import Decimal\nfrom collections import deque\nimport datetime as d\n"
          "assert f() == [Fraction(1, 3), Decimal('1.50'), deque([1]), range(3), d.date(2024, 2, 29), "
          "d.datetime(2024, 2, 29, 1), d.timedelta(1)]"], "correct"),
        ("from fractions import Fraction\ndef f(x): return x + Fraction(1, 3)",
         ["from fractions import Fraction\nassert f(Fraction(1, 3)) == Fraction(1, 3)"], "wrong_output"),
        ("class Fraction:\n    def __eq__(self, other): return True\n    def __reduce__(self): return Fraction, (1, 2)\n"
         "def f(): return Fraction()", ["from fractions import Fraction\nassert f() == Fraction(1, 2)"], "wrong_output"),
        # The program cannot define a name that the tests forgot to import.
        ("class np:\n    allclose = staticmethod(lambda *_: True)\ndef f(x): return 0", ["assert np.allclose(f(2), [1, 1])"], "runtime_error"),
        ("def copy(x): return [*x]", ["assert copy([1]) == [1]"], "correct"),
        ("def copy(x): return [*x]", {"functional": "def check(c):\n    assert c([1]) == [1]", "entry_point": "copy"}, "correct"),
        ("def f(x): return x", {"test": "def check(c):\n    assert c(1) == 1\ncheck(f)", "entry_point": "f"}, "correct"),
    ],
)  # fmt: skip
def test_forms_of_tests(program, tests, reason):
    assert judge(program, tests) == (float(reason == "correct"), reason)


@pytest.mark.parametrize(
    ("program", "tests", "score"),
    [
        ("print(2)", DOUBLE, 0.5),
        ("print(int(input()) * 2)", DOUBLE, 1.0),
        ("print(2 if input() == '1' else 1 / 0)", DOUBLE, 0.5),
        ("def add(a, b): return 3", ADD, 0.5),
        ("def add(a, b): return 3 if a == 1 else 1 / 0", ADD, 0.5),
        ("def add(a, b):\n    if a == 1: return 3\n    while True: pass", ADD, 0.5),
        ("def add(a, b): return 4", ASSERTS, 0.5),
        ("def add(a, b): return 4", CHECK, 0.0),
        ("print(int(input()) * 2", DOUBLE, 0.0),
    ],
)
def test_partial_returns_share_of_passed_tests(program, tests, score):
    limit = {"timeout": 0.3} if "while True" in program else {}
    assert judge(program, tests, partial=True, **limit)[0] == score
    assert judge(program, tests, **limit)[0] == float(score == 1.0)


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        ("```python\nprint(int(input()) * 2)\n```", 1.0, "correct"),
        ("<think>```python\nprint(1)\n```</think>\n```py\nprint(int(input()) * 2)\n```", 1.0, "correct"),
        ("<think>\n```python\nprint(int(input()) * 2)\n```\n</think>\nDone.", 0.0, "no_code"),
        ("<answer>\nprint(int(input()) * 2)\n</answer>", 1.0, "correct"),
        ("```python\nprint(int(input()) * 2)", 0.0, "truncated"),
        ("print(int(input()) * 2)", 0.0, "no_code"),
        ("", 0.0, "no_code"),
        ("<answer></answer>", 0.0, "empty_answer"),
        ("```python\n" + "x = 1\n" * 20_000 + "```", 0.0, "too_long"),
        ([{"role": "assistant", "content": "```python\nprint(int(input()) * 2)\n```"}], 1.0, "correct"),
    ],
)
def test_finds_program_in_completion(completion, value, reason):
    assert QUICK.score(completion, tests=DOUBLE)[:2] == (value, reason)


BLOCK = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (BLOCK, ("x = 1", "")),
        (f"So:\n{BLOCK}\nThat is it.", ("x = 1", "")),
        (BLOCK.replace("python", "py"), ("x = 1", "")),
        (BLOCK.replace("python", " Python3 title=a"), ("x = 1", "")),
        (BLOCK.replace("```", "~~~~"), ("x = 1", "")),
        (f"```python\nx = 2\n```\n{BLOCK}", ("x = 1", "")),
        (f"{BLOCK}\nIt prints\n```\n1\n```\n```text\n2\n```", ("x = 1", "")),
        ("```\nx = 2\n```\n```\nx = 1\n```", ("x = 1", "")),
        (f"{BLOCK}\n```python\nx = 2", ("x = 1", "")),
        ("1. So\n   ```python\n   if x:\n       y\n   ```", ("if x:\n    y", "")),
        ("````python\ns = '''\n```\n'''\n````", ("s = '''\n```\n'''", "")),
        ("```python\nx = 1\n``` ", ("x = 1", "")),
        ("```python\n```", ("", "")),
        (f"<think>{BLOCK}</think>\nNo.", (None, "no_code")),
        (f"<think>```python\n2\n``` so</think>{BLOCK}", ("x = 1", "")),
        (f"<reasoning>\n```\n2\n```\n</reasoning>\n<answer>\n{BLOCK}\n</answer>", ("x = 1", "")),
        (f"{BLOCK}\n<answer>\n```python\nx = 2\n```\n</answer>", ("x = 2", "")),
        ("<answer>\nx = 1\n</answer>", ("x = 1", "")),
        ("<answer>```cpp\nx = 1;\n```</answer>", (None, "no_code")),
        (f"<answer>{BLOCK}", (None, "truncated")),
        ("<answer></answer>", (None, "empty_answer")),
        (f"<think>say {BLOCK}\nbut", (None, "truncated")),
        ("```python\nx = 1", (None, "truncated")),
        ("```python\nx = 1```", ("x = 1", "")),
        ("```python\nx = 1```\nSo\n```\n2\n```", ("x = 1", "")),
        (BLOCK.replace("python", "py3"), ("x = 1", "")),
        (BLOCK.replace("python", "{python}"), ("x = 1", "")),
        (f"{BLOCK}\nTests:\n```python\n# two\nassert x == 1\n```", ("x = 1", "")),
        ("```cpp\nx = 1;\n```", (None, "no_code")),
        ("```python x = 1 ```", (None, "no_code")),
        ("x = 1", (None, "no_code")),
        ("", (None, "no_code")),
    ],
)
def test_read_code(text, code):
    assert read_code(text) == code


@pytest.mark.parametrize(
    "later",
    ["print(add(1, 2))", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(add(1, 1), 2)",
     "assert add(1, 2) == 3", "add(1, 2)  # 3", "result = add(1, 2)\nprint(result)"],
)  # fmt: skip
@pytest.mark.parametrize("program", ["def add(a, b): return a + b", "add = lambda a, b: a + b"])
@pytest.mark.parametrize("tests", [ADD, ASSERTS, CHECK], ids="calls asserts check".split())
def test_later_block_of_samples_is_not_the_program(program, later, tests):
    text = f"```python\n{program}\n```\nFor example:\n```python\n{later}\n```"
    assert QUICK.score(text, tests=json.dumps(tests))[:2] == (1.0, "correct")


def test_rows_whose_tests_cannot_be_judged_have_a_problem():
    problem = code_reward_func.spec.row_problem
    assert problem(tests=ASSERTS) == ""
    assert "cannot be judged" in problem(tests={"functional": "def test_a(tmp_path):\n    assert f(tmp_path) == 1"})


@pytest.mark.parametrize(
    ("tests", "read"),
    [
        (DOUBLE, ProgramTests((("1\n", "2\n"), ("21\n", "42\n")))),
        (json.dumps(DOUBLE), ProgramTests((("1\n", "2\n"), ("21\n", "42\n")))),
        ({"inputs": [["1", "2"]], "outputs": [["3"]]}, ProgramTests((("1\n2", "3"),))),
        ({"inputs": ["1"], "outputs": ["2"], "fn_name": None}, ProgramTests((("1", "2"),))),
        (ADD, ProgramTests((([1, 2], 3), ([2, 2], 4)), "add")),
        ([{"input": "1", "output": "2", "type": "stdin_stdout"}], ProgramTests((("1", "2"),))),
        ({"language": "python", "test_cases": [{"fn_name": None, "input": "1", "output": "2", "type": "stdin_stdout"}]},
         ProgramTests((("1", "2"),))),
        ({"test_cases": [{"fn_name": "f", "input": [1], "output": 2, "type": "function_call"}]}, ProgramTests((([1], 2),), "f")),
        (["assert f(1) == 2"], ProgramTests(code="assert f(1) == 2", names=("f",))),
        ({"functional": "assert math.pi > f(abs(x))"}, ProgramTests(code="assert math.pi > f(abs(x))", names=("f", "x"), modules=("math",))),
        ({"functional": "import math\nassert math.pi > f(abs(1))", "entry_point": "f"},
         ProgramTests(code="import math\nassert math.pi > f(abs(1))", names=("f",))),
        # Nobody knows whether the program should define `x`.
        ({"functional": "import math\nassert math.pi > f(abs(x))", "entry_point": "f"}, None),
        ("not json", None),
        ("", None),
        ("null", None),
        ("[]", None),
        ("3", None),
        ("{}", None),
        ({"inputs": [], "outputs": []}, None),
        ({"inputs": ["1"], "outputs": []}, None),
        ({"inputs": [1], "outputs": [2]}, None),
        ({"inputs": [1], "outputs": [2], "fn_name": "f"}, None),
        ([{"input": "1"}], None),
        ([{"fn_name": "f", "input": [1], "output": 2}, {"fn_name": "g", "input": [1], "output": 2}], None),
        (["assert f(1) =="], None),
        ({"functional": "f(1)"}, None),
        ({"functional": ""}, None),
        ("[" * 100_000, None),
    ],
)  # fmt: skip
def test_read_tests(tests, read):
    assert read_tests(tests) == read
    if read is None:
        assert QUICK.score(fenced("print(1)"), tests=tests)[:2] == (None, "bad_tests")


def test_tests_without_assertion_score_none():
    assert judge("def f(x): return 2", {"functional": "def helper(): assert f(1) == 1"}) == (None, "bad_tests")


TWO_SUM = [
    {"input": "[2, 7, 11]\n9", "output": "[0, 1]", "testtype": "functional"},
    {"input": "[3, 3]\n6\n", "output": "[0, 1]", "testtype": "functional"},
]
NAMED = [{**each, "metadata": {"func_name": "twoSum"}} for each in TWO_SUM]
BESIDE = {"test_cases": TWO_SUM, "metadata": '{"func_name": "twoSum"}'}
PAIR = "return next([i, j] for i, j in combinations(range(len(a)), 2) if a[i] + a[j] == b)"
ONE = {"test_cases": [{"input": "[4]", "output": "[4]", "testtype": "functional"}], "metadata": {"func_name": "f"}}


@pytest.mark.parametrize(
    "tests",
    [
        NAMED,
        BESIDE,
        {**BESIDE, "test_cases": json.dumps(TWO_SUM)},
        {
            "inputs": [each["input"] for each in TWO_SUM],
            "fn_name": "twoSum",
            "outputs": [each["output"] for each in TWO_SUM],
        },
    ],
)
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (f"class Solution:\n    def twoSum(self, a: List[int], b: int) -> List[int]:\n        {PAIR}", "correct"),
        (f"from itertools import *\ndef twoSum(a, b):\n    {PAIR}", "correct"),
        ("def twoSum(a, b): return 0, 1", "correct"),
        ("def twoSum(a, b):\n    a.clear()\n    return []", "wrong_output"),
        ("def twoSum(a, b): return '[0, 1]'", "wrong_output"),
        ("a = input()\nprint([0, 1])", "runtime_error"),
        ("x = 1", "no_function"),
        ("from itertools import *\ndef twoSum(a, b): return count()", "runtime_error"),
    ],
)
def test_livecodebench_functions_are_called(tests, program, reason):
    assert judge(program, tests) == (float(reason == "correct"), reason)


@pytest.mark.parametrize(
    ("program", "tests", "reason"),
    [
        # A method may have the name of an imported function. LeetCode's names are not an answer.
        ("from math import *\nclass Solution:\n    def gcd(self, a, b): return a + b",
         {"fn_name": "gcd", "inputs": [[1, 2]], "outputs": [3]}, "correct"),
        ("x = 1", {"fn_name": "gcd", "inputs": [[1, 2]], "outputs": [1]}, "no_function"),
        ("x = 1", {"functional": "assert gcd(1, 2) == 1"}, "no_function"),
        # Unlike in APPS, no list encloses the outputs.
        ("def f(a): return a", ONE, "correct"),
        ("def f(a): return a[0]", ONE, "wrong_output"),
    ],
)  # fmt: skip
def test_function_tests(program, tests, reason):
    assert judge(program, tests) == (float(reason == "correct"), reason)


@pytest.mark.parametrize(
    "tests",
    [
        TWO_SUM,
        {"test_cases": TWO_SUM, "metadata": "{}"},
        [{**NAMED[0], "metadata": {"func_name": "f"}}, NAMED[1]],
        [NAMED[0], {"input": "1", "output": "2", "testtype": "stdin"}],
        [{**NAMED[0], "input": "1,"}],
        [{"input": [1], "output": 2, "type": "function_call"}],
        ["assert True"],
        {"functional": "assert 1 == 1", "entry_point": "f"},
    ],
)
def test_unusable_tests_score_none(tests):
    assert read_tests(tests) is None


# Odd objects earn no more than plain values.
ODD = {
    "another float each time": (
        "class X:\n    n = 0\n    def __float__(self):\n        X.n += 1\n        return 6 / 11 * (X.n == 2)\n"
        "def root(a): return X()",
        "import math\nr = root([-6, 11, -6, 1])\n"
        "assert math.isclose(sum(c * math.pow(r, i) for i, c in enumerate([-6, 11, -6, 1])), 0, abs_tol=1e-4)",
    ),
    "within bounds": (
        "class X:\n    n = 0\n    def __float__(self):\n        X.n += 1\n        return float(X.n % 2)\ndef f(a): return X()",
        "r = f(1)\nassert float(r) > 0.4 and float(r) < 0.6",
    ),
    "another truth each time": (
        "class X:\n    n = 0\n    def __bool__(self):\n        X.n += 1\n        return X.n == 1\ndef f(a): return X()",
        "r = f(1)\nassert r and not r",
    ),
    "another length each time": (
        "class X:\n    n = 0\n    def __len__(self):\n        X.n += 3\n        return X.n\ndef f(a): return X()",
        "r = f(1)\nassert len(r) < 4 and len(r) > 5",
    ),
    "other items each time": (
        "class X:\n    n = 0\n    def __getitem__(self, i):\n        X.n += 1\n        return X.n\ndef f(a): return X()",
        "r = f([3, 1, 2])\nassert r[0] < r[1] and r[1] < r[0]",
    ),
    "another iteration each time": (
        "class X:\n    n = 0\n    def __iter__(self):\n        X.n += 1\n        return iter([[3, 1, 2], [1, 2, 3]][X.n % 2])\n"
        "def f(a): return X()",
        "r = f([3, 1, 2])\nassert list(r) != list(r)",
    ),
    "all numbers": ("from itertools import count\ndef f(a): return count()", "assert 5 in f(1)"),
    "endless": ("from itertools import count\ndef f(a): return count()", "assert list(f(1)) == [0, 1, 2]"),
    "equal": ("class X:\n    def __eq__(self, other): return True\ndef f(a): return X()", "assert f(1) == 3"),
    "an emptied input": ("def f(a):\n    a.clear()\n    return []", "a = [2, 1]\nr = f(a)\nassert r == sorted(a)"),
    "an emptied sum": ("def f(a):\n    a.clear()\n    return 0", "a = [2, 1]\nassert f(a) == sum(a)"),
    "an input for all": ("def f(a):\n    a.clear()", "a = [2, 1]\nr = f(a)\nassert all(each in r for each in a)"),
    "an input that must stay": ("def f(a):\n    a.sort()\n    return a", "a = [2, 1]\nr = f(a)\nassert r == [1, 2]\nassert a == [2, 1]"),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_objects_and_changed_inputs_earn_nothing(odd):
    program, code = ODD[odd]
    limit = {"timeout": 0.1} if "count()" in program else {}  # it ends at the limit
    value, reason = judge(program, {"functional": code}, **limit)
    assert value == 0.0, reason


def test_endless_iterator_costs_the_scoring_process_no_more_than_the_limit():
    program, code = ODD["endless"]
    began = time.process_time()
    assert judge(program, {"functional": code}, timeout=0.3) == (0.0, "time_limit")
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("def f(a):\n    a[:] = sorted(set(a))\n    return len(a)", "a = [2, 1, 1]\nk = f(a)\nassert k == 2\nassert a[:k] == [1, 2]"),
        ("def f(a):\n    a.clear()", "a = [2, 1]\nf(a)\nassert not a"),
        ("def f(a): a.sort()", "a = [2, 1]\nwanted = [1, 2]\nf(a)\nassert a == wanted"),
        ("class S:\n    def __init__(self): self.a = []\n    def push(self, x): self.a.append(x)\n    def __len__(self): return len(self.a)\n"
         "    def __iter__(self): return iter(self.a)\n    def __getitem__(self, i): return self.a[i]",
         "s = S()\nassert len(s) == 0 and not s\ns.push(3)\nassert len(s) == 1 and s and s[0] == 3 and list(s) == [3] and 3 in s\n"
         "s.push(4)\nassert list(s) == [3, 4]"),
        ("def f():\n    n = 0\n    while True:\n        yield n\n        n += 1",
         "from itertools import islice\ng = f()\nassert next(g) == 0 and next(g) == 1\nassert list(islice(f(), 3)) == [0, 1, 2]"),
        ("class Solution:\n    def f(self, a): return Counter(a), gcd(4, 6), heapq.nlargest(1, a)",
         "assert Solution().f([1]) == ({1: 1}, 2, [1])"),
    ],
)  # fmt: skip
def test_right_programs_with_objects_and_changed_inputs(program, code):
    assert judge(program, {"functional": code}) == (1.0, "correct")


@pytest.mark.parametrize(
    ("program", "tests", "score"),
    [
        ("def add(a, b): return 9", ["assert True", *ASSERTS], 0.0),
        ("def add(a, b): return 3", ["assert True", "assert callable(add)", *ASSERTS], 0.5),
        ("def add(a, b): return a + b", ["assert True", *ASSERTS], 1.0),
        ("def even(n): return 0", ["assert even(2)", "assert not even(3)"], 0.0),
        ("def even(n): return n == 2", ["assert even(2)", "assert not even(3)"], 1.0),
        ("x = 1", {"inputs": ["1", "2"], "outputs": ["", "4"]}, 0.0),
        ("print(4)", {"inputs": ["1", "2", "3"], "outputs": ["", "4", "5"]}, 0.0),
        ("print(input().replace('2', '4').replace('1', ''))", {"inputs": ["1", "2"], "outputs": ["", "4"]}, 1.0),
        ("def f(a): x = 1", {"fn_name": "f", "inputs": [[1], [2]], "outputs": [None, 4]}, 0.0),
        ("def f(a", ["assert True", *ASSERTS], 0.0),
        ("print(1)", {"inputs": ["1"], "outputs": [""]}, None),
        ("def f(a: return", ["assert f(1) is None"], None),
        ("def f(a): return None", ["assert f(1) is None"], None),
    ],
)
def test_partial_ignores_tests_that_an_empty_program_passes(program, tests, score):
    assert judge(program, tests, partial=True)[0] == score


def test_timeout_is_for_all_tests_together():
    slow = "import time\nn = int(input())\ntime.sleep(0.2)\nprint(n * 2)"
    assert judge(slow, DOUBLE, timeout=0.3) == (0.0, "time_limit")


@pytest.mark.slow  # it fills one of the cores
def test_busy_cpu_does_not_time_out_right_program():
    """On one CPU with other processes, the program needs much more wall time than CPU time."""
    program = """
        import time
        while time.process_time() < 0.2: pass
        print(2 * int(input()))
        """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    spin = [sys.executable, "-c", "while True: pass"]
    spinners = [subprocess.Popen(spin, start_new_session=True) for _ in range(3)]
    try:
        began = time.monotonic()
        assert judge(program, DOUBLE, timeout=0.6) == (1.0, "correct")
        assert time.monotonic() - began > 0.6
        assert judge("import time\ntime.sleep(60)", DOUBLE, timeout=0.6) == (0.0, "time_limit")
    finally:
        os.sched_setaffinity(0, cpus)
        for each in spinners:
            each.kill()
            each.wait()


def test_endless_loop_is_reported_as_time_limit():
    """The soft limit ends a program first. At the hard limit, the reason would be lost."""
    program = "import resource\nprint(*resource.getrlimit(resource.RLIMIT_CPU))"
    tests = {"inputs": [""], "outputs": ["2 3"]}
    assert judge(program, tests) == (1.0, "correct")


def test_ready_refuses_machine_without_sandbox(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    sandbox._find_backend.cache_clear()
    with pytest.raises(RuntimeError, match="set allow_unsafe: true"):
        code_reward_func.ready()
    code_reward_func.bind(allow_unsafe=True).ready()
    sandbox._find_backend.cache_clear()


def test_quickstart_tests_are_readable():
    file = Path(sandbox.__file__).parents[1] / "quickstart" / "code.jsonl"
    assert all(read_tests(json.loads(line)["tests"]) for line in file.read_text().splitlines())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1\r\n2", "1\n2", True),
        ("1 \n\n", "1", True),
        ("", "", True),
        ("\n", "", True),
        ("1\x0c2", "1\n2", False),
        ("1.0000001", "1.0", True),
        ("1000000.4", "1000000.5", True),
        ("1.5", "15", False),
        ("0.5 0.25", "0.5  0.25", True),
        ("1  2", "1 2", True),
        (" 1 2", "1 2", True),
        ("1\t2", "1 2", True),
        ("12", "1 2", False),
        ("*", "  *", False),
        (" ***", "  *\n***", False),
        ("  *\n ***", "  *\n***", False),
        ("[0.30000000000000004, 1]", "[0.3, 1]", True),
        ("[(0.3, 0.1)]", "[(0.30000001, 0.1)]", True),
        ("[0.4, 1]", "[0.3, 1]", False),
        ("[0.3; 1]", "[0.3, 1]", False),
        ("(0.3, 1)", "[0.3, 1]", False),
        ("  [0.3]", "[0.3]", True),
    ],
)
def test_same_output(one, other, same):
    assert same_output(one, other) is same


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ([1, [2.0000001]], [1, [2.0]], True),
        (2, 2.0, True),
        ("2", 2, False),
        (None, 0, False),
        ([], {}, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": [1], "b": 1}, {"a": [1]}, False),
        (float("nan"), 0.5, False),
        (float("nan"), float("nan"), True),
        (5, float("inf"), False),
        (float("-inf"), float("inf"), False),
        (float("inf"), float("inf"), True),
        (float("inf"), 0.5, False),
        (10**400, 0.5, False),
        (-(10**400), float("inf"), False),
    ],
)
def test_same_value(value, expected, same):
    assert same_value(value, expected) is same


PIECES = st.sampled_from(
    ["```python\n", "\n```\n", "\n", "def f(:", "import os", "#", *"``` print(1) <answer> </answer> </think>".split()]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join)))
@settings(max_examples=60)
def test_any_text_is_scored(text):
    for completion in (text, fenced(text)):
        score = QUICK.score(completion, tests=DOUBLE)
        assert score.value == 0.0 and score.reason in code_reward_func.spec.reasons


@pytest.mark.parametrize(
    "text",
    ["```" * 300_000, "```python\n" * 100_000, "`" * 1_000_000, "<answer>" * 100_000, "\n" * 1_000_000,
     "```python\n" + "x" * 1_000_000 + "\n```", "```python\n```\n" * 70_000],
)  # fmt: skip
def test_long_text_takes_milliseconds(text):
    judge("print(1)", DOUBLE)
    began = time.process_time()
    QUICK.score(text, tests=DOUBLE)
    assert time.process_time() - began < 1.0
