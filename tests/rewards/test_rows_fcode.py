"""Right programs in every style, with tests in every style: the code reward must pay each of them."""

import json
import re
from pathlib import Path

import pytest

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.rewards.code import code_reward_func

try:
    sandbox.ready()
except sandbox.SandboxError as no_sandbox:
    pytest.skip(str(no_sandbox), allow_module_level=True)

ADD = "def add(a, b):\n    return a + b"
SUM_INPUT = {"inputs": ["1 2\n", "10 -3\n"], "outputs": ["3\n", "7\n"]}
LINES_INPUT = {"inputs": ["3\n1\n2\n3\n", "1\n5\n"], "outputs": ["6\n", "5\n"]}

# Programs that read stdin. Each row: name, program, tests.
STDIN = [
    ("input", "a, b = map(int, input().split())\nprint(a + b)", SUM_INPUT),
    ("read", "import sys\nprint(sum(map(int, sys.stdin.read().split())))", SUM_INPUT),
    ("readline", "import sys\ninput = sys.stdin.readline\nprint(sum(map(int, input().split())))", SUM_INPUT),
    ("readlines", "import sys\nl = sys.stdin.readlines()\nprint(sum(map(int, l[1:])))", LINES_INPUT),
    ("for line in stdin", "import sys\nn = next(sys.stdin)\nprint(sum(int(x) for x in sys.stdin))", LINES_INPUT),
    ("open 0", "print(sum(map(int, open(0).read().split())))", SUM_INPUT),
    ("buffer", "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", SUM_INPUT),
    ("os.read", "import os\nprint(sum(map(int, os.read(0, 10**6).split())))", SUM_INPUT),
    (
        "BytesIO of fstat",
        "import os, io\nf = io.BytesIO(os.read(0, os.fstat(0).st_size or 99))\nprint(sum(map(int, f.readline().split())))",
        SUM_INPUT,
    ),
    ("dev stdin", "print(sum(map(int, open('/dev/stdin').read().split())))", SUM_INPUT),
    ("fileinput", "import fileinput\nprint(sum(sum(map(int, line.split())) for line in fileinput.input()))", SUM_INPUT),
    (
        "main guard",
        "def main():\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()",
        SUM_INPUT,
    ),
    (
        "sys.exit after main",
        "import sys\ndef main():\n    print(sum(map(int, input().split())))\n    return 0\nif __name__ == '__main__':\n    sys.exit(main())",
        SUM_INPUT,
    ),
    ("exit()", "print(sum(map(int, input().split())))\nexit()", SUM_INPUT),
    (
        "EOFError",
        "s = 0\nwhile True:\n    try:\n        s += sum(map(int, input().split()))\n    except EOFError:\n        break\nprint(s)",
        SUM_INPUT,
    ),
    (
        "iter with a sentinel",
        "import sys\nn = int(input())\nprint(sum(map(int, iter(lambda: sys.stdin.readline().strip(), ''))))",
        LINES_INPUT,
    ),
    (
        "thread with a deep stack",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(64 << 20)\ndef deep(n):\n    return 0 if n == 0 else 1 + deep(n - 1)\ndef main():\n    print(sum(map(int, input().split())) + deep(20000) - 20000)\nt = threading.Thread(target=main)\nt.start()\nt.join()",
        SUM_INPUT,
    ),
    (
        "asyncio",
        "import asyncio\nasync def add(a, b):\n    await asyncio.sleep(0)\n    return a + b\nprint(asyncio.run(add(*map(int, input().split()))))",
        SUM_INPUT,
    ),
    ("stdout.write", "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.read().split()))) + '\\n')", SUM_INPUT),
    (
        "stdout.buffer",
        "import sys\nsys.stdout.buffer.write(b'%d' % sum(map(int, sys.stdin.read().split())))",
        SUM_INPUT,
    ),
    ("os.write", "import os\nos.write(1, str(sum(map(int, input().split()))).encode())", SUM_INPUT),
    (
        "redirected print",
        "import io, sys\nbuffer = io.StringIO()\nprint(sum(map(int, input().split())), file=buffer)\nsys.stdout.write(buffer.getvalue())",
        SUM_INPUT,
    ),
    (
        "writes to stderr too",
        "import sys\nprint('debug', file=sys.stderr)\nprint(sum(map(int, input().split())))",
        SUM_INPUT,
    ),
    ("flush and end", "print(sum(map(int, input().split())), end='', flush=True)", SUM_INPUT),
    (
        "global state",
        "total = 0\ndef take(x):\n    global total\n    total += x\nfor x in input().split():\n    take(int(x))\nprint(total)",
        SUM_INPUT,
    ),
    (
        "numbers in a list",
        "n = int(input())\nprint(*[int(input()) for _ in range(n)], sep='\\n')",
        {"inputs": ["2\n4\n5\n"], "outputs": ["4\n5\n"]},
    ),
    (
        "trailing space",
        "for x in input().split():\n    print(x, end=' ')\nprint()",
        {"inputs": ["1 2 3"], "outputs": ["1 2 3"]},
    ),
    ("trailing newlines", "print(input())\nprint()", {"inputs": ["abc"], "outputs": ["abc"]}),
    ("unicode", "print(input()[::-1])", {"inputs": ["héllo ✓ 日本\n"], "outputs": ["本日 ✓ olléh\n"]}),
    (
        "a picture",
        "n = int(input())\nfor i in range(1, n + 1):\n    print(' ' * (n - i) + '*' * (2 * i - 1))",
        {"inputs": ["3"], "outputs": ["  *\n ***\n*****"]},
    ),
    ("a table with tabs", "print('a\\tb')\nprint('1\\t2')", {"inputs": [""], "outputs": ["a\tb\n1\t2\n"]}),
    (
        "CRLF input",
        "n = int(input())\nprint(sum(int(input()) for _ in range(n)))",
        {"inputs": ["2\r\n1\r\n2\r\n"], "outputs": ["3\r\n"]},
    ),
    (
        "decimals",
        "a, b = map(float, input().split())\nprint(a / b)",
        {"inputs": ["1 3\n"], "outputs": ["0.333333333\n"]},
    ),
    ("fixed decimals", "print(f'{float(input()):.2f}')", {"inputs": ["2.5"], "outputs": ["2.50"]}),
    ("big integers", "print(2 ** int(input()))", {"inputs": ["200"], "outputs": [str(2**200)]}),
    (
        "5,000 digits",
        "import sys\nsys.set_int_max_str_digits(0)\nprint(10 ** int(input()))",
        {"inputs": ["5000"], "outputs": ["1" + "0" * 5000]},
    ),
    ("yes or no", "print('YES' if int(input()) % 2 == 0 else 'NO')", {"inputs": ["4", "5"], "outputs": ["YES", "NO"]}),
    (
        "an empty line expected",
        "n = int(input())\nprint(' '.join(str(i) for i in range(n)))",
        {"inputs": ["0", "3"], "outputs": ["", "0 1 2"]},
    ),
    ("lists of lines", "print(input())\nprint(input())", {"inputs": [["a", "b"]], "outputs": [["a", "b"]]}),
    ("LiveCodeBench", "print(sum(map(int, input().split())))", [{"input": "1 2", "output": "3", "testtype": "stdin"}]),
    ("open-r1", "print(sum(map(int, input().split())))", [{"input": "1 2", "output": "3", "type": "stdin_stdout"}]),
    (
        "a million numbers",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
        {"inputs": ["1 " * 300000], "outputs": ["300000"]},
    ),
    (
        "long output",
        "for i in range(int(input())):\n    print(i)",
        {"inputs": ["50000"], "outputs": ["\n".join(map(str, range(50000)))]},
    ),
    (
        "slow, but in time",
        "t = 0\nfor i in range(3 * 10**6):\n    t += i\nprint(t)",
        {"inputs": [""], "outputs": ["4499998500000"]},
    ),
    ("numpy", "import numpy as np\nprint(int(np.array(input().split(), dtype=int).sum()))", SUM_INPUT),
    (
        "subprocess of Python",
        "import subprocess, sys\nn = sum(map(int, input().split()))\nprint(subprocess.run([sys.executable, '-c', f'print({n})'], capture_output=True, text=True).stdout)",
        SUM_INPUT,
    ),
    (
        "scratch file",
        "with open('t.txt', 'w') as f:\n    f.write(input())\nprint(sum(map(int, open('t.txt').read().split())))",
        SUM_INPUT,
    ),
    ("argv is alone", "import sys\nassert len(sys.argv) == 1\nprint(sum(map(int, input().split())))", SUM_INPUT),
    (
        "random with a seed",
        "import random\nrandom.seed(1)\nx = sorted(input().split(), key=lambda s: random.random())\nprint(sum(map(int, x)))",
        SUM_INPUT,
    ),
]

# Functions and methods that are called with arguments.
CALLS = [
    ("fn_name", ADD, {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
    ("output in a list", ADD, {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}),
    (
        "Solution",
        "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    (
        "Solution with List",
        "class Solution:\n    def two(self, nums: List[int]) -> Optional[int]:\n        return max(nums, default=None)",
        {"fn_name": "two", "inputs": [[[1, 5, 2]], [[]]], "outputs": [5, None]},
    ),
    (
        "LeetCode's modules",
        "class Solution:\n    def top(self, nums: List[int]) -> int:\n        c = Counter(nums)\n        h = [-v for v in c.values()]\n        heapify(h)\n        return -h[0] + bisect_left([1, 2], 1)",
        {"fn_name": "top", "inputs": [[[1, 1, 2]]], "outputs": [2]},
    ),
    (
        "static method",
        "class Solution:\n    @staticmethod\n    def add(a, b):\n        return a + b",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    ("lambda", "add = lambda a, b: a + b", {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
    (
        "partial",
        "from functools import partial\nfrom operator import add as plus\nadd = partial(plus)",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    (
        "lru_cache",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)",
        {"fn_name": "fib", "inputs": [[80]], "outputs": [23416728348467685]},
    ),
    (
        "decorator of its own",
        "def twice(f):\n    def g(*a):\n        return f(f(*a))\n    return g\n@twice\ndef inc(x):\n    return x + 1",
        {"fn_name": "inc", "inputs": [[1]], "outputs": [3]},
    ),
    (
        "callable object",
        "class Add:\n    def __call__(self, a, b):\n        return a + b\nadd = Add()",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    ("tuple for a list", "def pair(a):\n    return a, a", {"fn_name": "pair", "inputs": [[1]], "outputs": [[1, 1]]}),
    ("floats", "def half(a):\n    return a / 2", {"fn_name": "half", "inputs": [[5]], "outputs": [2.5]}),
    (
        "dict",
        "def count(s):\n    return {c: s.count(c) for c in s}",
        {"fn_name": "count", "inputs": [["aab"]], "outputs": [{"a": 2, "b": 1}]},
    ),
    (
        "defaultdict",
        "from collections import defaultdict\ndef count(s):\n    d = defaultdict(int)\n    for c in s:\n        d[c] += 1\n    return d",
        {"fn_name": "count", "inputs": [["aab"]], "outputs": [{"a": 2, "b": 1}]},
    ),
    (
        "prints while it works",
        "def add(a, b):\n    print('adding', a, b)\n    return a + b",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    ("sample at the end", ADD + "\nprint(add(1, 2))", {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
    (
        "input under a main guard",
        ADD + "\nif __name__ == '__main__':\n    print(add(int(input()), 1))",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
    ),
    (
        "LiveCodeBench call",
        "class Solution:\n    def add(self, a, b):\n        return a + b",
        [{"input": "1\n2", "output": "3", "testtype": "functional", "metadata": {"func_name": "add"}}],
    ),
    (
        "LiveCodeBench strings",
        "class Solution:\n    def join(self, a: List[str], s: str) -> str:\n        return s.join(a)",
        [{"input": '["a", "b"]\n"-"', "output": '"a-b"', "testtype": "functional", "metadata": {"func_name": "join"}}],
    ),
    (
        "class state is new",
        "class Solution:\n    def __init__(self):\n        self.seen = 0\n    def see(self, x):\n        self.seen += x\n        return self.seen",
        {"fn_name": "see", "inputs": [[1], [1]], "outputs": [1, 1]},
    ),
    (
        "deep recursion",
        "import sys\nsys.setrecursionlimit(100000)\ndef deep(n):\n    return 0 if n == 0 else 1 + deep(n - 1)",
        {"fn_name": "deep", "inputs": [[9000]], "outputs": [9000]},
    ),
]

# Statements, as in MBPP and HumanEval.
STATEMENTS = [
    ("MBPP", ADD, ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]),
    ("functional", ADD, {"functional": "assert add(1, 2) == 3"}),
    (
        "HumanEval",
        ADD,
        {
            "test": "METADATA = {'author': 'x'}\n\ndef check(candidate):\n    assert candidate(1, 2) == 3, 'add'\n    assert candidate(a=1, b=4) == 5\n",
            "entry_point": "add",
        },
    ),
    ("HumanEval calls check itself", ADD, "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)"),
    (
        "HumanEval loop",
        ADD,
        {
            "test": "def check(candidate):\n    import random\n    for _ in range(20):\n        a, b = random.randint(0, 9), random.randint(0, 9)\n        assert candidate(a, b) == a + b\n",
            "entry_point": "add",
        },
    ),
    (
        "HumanEval with a reference",
        ADD,
        {
            "test": "def reference(a, b):\n    return sum([a, b])\ndef check(candidate):\n    for a in range(5):\n        assert candidate(a, 2) == reference(a, 2)\n",
            "entry_point": "add",
        },
    ),
    ("literal first", ADD, "assert 3 == add(1, 2)"),
    (
        "is",
        "def even(n):\n    return n % 2 == 0 or None",
        "assert even(2) is True\nassert even(1) is None\nassert even(4)",
    ),
    (
        "not",
        "def even(n):\n    return n % 2 == 0",
        "assert not even(3)\nassert even(3) is not None\nassert even(3) != even(4)",
    ),
    ("chained", ADD, "assert 0 < add(1, 1) <= 2"),
    ("and", ADD, "assert add(1, 1) == 2 and add(2, 2) == 4"),
    ("message", ADD, "assert add(1, 1) == 2, f'got {add(1, 1)}'"),
    ("abs difference", "def half(x):\n    return x / 3", "assert abs(half(1) - 0.3333) < 1e-3"),
    (
        "math.isclose",
        "def third(x):\n    return x / 3",
        "import math\nassert math.isclose(third(1), 0.333333333333, rel_tol=1e-6)",
    ),
    ("round", "def third(x):\n    return x / 3", "assert round(third(1), 2) == 0.33"),
    (
        "set of a result",
        "def digits(n):\n    return list(str(n))",
        "assert set(digits(121)) == {'1', '2'}\nassert sorted(digits(21)) == ['1', '2']",
    ),
    (
        "list of a generator",
        "def count(n):\n    i = 0\n    while i < n:\n        yield i\n        i += 1",
        "assert list(count(3)) == [0, 1, 2]\nassert sum(count(4)) == 6",
    ),
    (
        "next",
        "def count():\n    n = 0\n    while True:\n        yield n\n        n += 1",
        "c = count()\nassert next(c) == 0\nassert next(c) == 1\nfrom itertools import islice\nassert list(islice(c, 2)) == [2, 3]",
    ),
    (
        "send",
        "def echo():\n    x = None\n    while True:\n        x = yield x",
        "e = echo()\nnext(e)\nassert e.send(5) == 5\ne.close()",
    ),
    (
        "a changed argument",
        "def bubble(a):\n    for i in range(len(a)):\n        for j in range(len(a) - 1 - i):\n            if a[j] > a[j + 1]:\n                a[j], a[j + 1] = a[j + 1], a[j]",
        "x = [3, 1, 2]\nbubble(x)\nassert x == [1, 2, 3]",
    ),
    (
        "an unchanged argument",
        "def ordered(a):\n    return sorted(a)",
        "x = [2, 1]\nassert ordered(x) == [1, 2]\nassert x == [2, 1]",
    ),
    (
        "a changed dict",
        "def put(d, k, v):\n    d[k] = v\n    return d",
        "d = {}\nput(d, 'a', 1)\nput(d, 'b', 2)\nassert d == {'a': 1, 'b': 2}",
    ),
    ("a changed set", "def mark(s, x):\n    s.add(x)", "s = set()\nmark(s, 1)\nassert 1 in s and len(s) == 1"),
    (
        "a changed nested list",
        "def fill(g):\n    for row in g:\n        row[0] = 9",
        "g = [[1, 2], [3, 4]]\nfill(g)\nassert g == [[9, 2], [9, 4]]",
    ),
    (
        "a changed list of the module",
        "LOG = []\ndef log(x):\n    LOG.append(x)",
        "log(1)\nlog(2)\nassert LOG == [1, 2]",
    ),
    (
        "a counter of the module",
        "count = 0\ndef tick():\n    global count\n    count += 1\n    return count",
        "assert tick() == 1\nassert tick() == 2",
    ),
    (
        "a container read before and after",
        "CACHE = {}\ndef f(x):\n    CACHE[x] = x * x\n    return CACHE[x]",
        "assert CACHE == {}\nassert f(3) == 9\nassert CACHE == {3: 9}\nassert 3 in CACHE",
    ),
    (
        "a container cleared by the tests",
        "SEEN = []\ndef see(x):\n    SEEN.append(x)\n    return len(SEEN)",
        "see(1)\nSEEN.clear()\nassert see(5) == 1",
    ),
    (
        "closures",
        "def counter():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step",
        "c = counter()\nd = counter()\nassert (c(), c(), d()) == (1, 2, 1)",
    ),
    (
        "function as argument",
        "def apply(f, x):\n    return f(f(x))",
        "assert apply(lambda x: x + 3, 1) == 7\nassert apply(str.upper, 'a') == 'A'",
    ),
    (
        "callback that records",
        "def each(items, f):\n    for i in items:\n        f(i)",
        "got = []\neach([1, 2], got.append)\nassert got == [1, 2]",
    ),
    (
        "try and except",
        "def div(a, b):\n    if b == 0:\n        raise ValueError('zero')\n    return a / b",
        "try:\n    div(1, 0)\nexcept ValueError as e:\n    assert str(e) == 'zero'\nelse:\n    assert False",
    ),
    (
        "raised flag",
        "def div(a, b):\n    return a / b",
        "raised = False\ntry:\n    div(1, 0)\nexcept ZeroDivisionError:\n    raised = True\nassert raised",
    ),
    (
        "async function",
        "import asyncio\nasync def add(a, b):\n    await asyncio.sleep(0.001)\n    return a + b",
        "import asyncio\nassert asyncio.run(add(1, 2)) == 3",
    ),
    (
        "async gather",
        "import asyncio\nasync def sq(x):\n    await asyncio.sleep(0)\n    return x * x\ndef run(xs):\n    async def main():\n        return await asyncio.gather(*map(sq, xs))\n    return asyncio.run(main())",
        "assert run([1, 2]) == [1, 4]",
    ),
    (
        "async test",
        "async def add(a, b):\n    return a + b",
        "import asyncio\nasync def test():\n    assert await add(1, 2) == 3\nasyncio.run(test())",
    ),
    (
        "printed output",
        "def hello(n):\n    print('hello', n)",
        "import io\nfrom contextlib import redirect_stdout\nf = io.StringIO()\nwith redirect_stdout(f):\n    hello('bob')\nassert f.getvalue() == 'hello bob\\n'",
    ),
    ("cases in a list", ADD, "for a, b, c in [(1, 2, 3), (0, 0, 0)]:\n    assert add(a, b) == c"),
    ("all()", ADD, "assert all(add(a, a) == 2 * a for a in range(5))"),
    (
        "numpy compare",
        "import numpy as np\ndef double(a):\n    return np.asarray(a) * 2",
        "import numpy as np\nassert np.array_equal(double([1, 2]), [2, 4])\nassert double([1]).tolist() == [2]\nassert double([[1, 2]]).shape == (1, 2)",
    ),
    (
        "nan and inf",
        "def bad():\n    return float('nan'), float('inf')",
        "import math\na, b = bad()\nassert math.isnan(a) and b == float('inf')",
    ),
    (
        "Fraction",
        "from fractions import Fraction\ndef half():\n    return Fraction(1, 2)",
        "from fractions import Fraction\nassert half() == Fraction(1, 2)\nassert half() == 0.5",
    ),
    (
        "Decimal",
        "from decimal import Decimal\ndef cost():\n    return Decimal('1.10')",
        "from decimal import Decimal\nassert cost() == Decimal('1.1')",
    ),
    (
        "date",
        "from datetime import date, timedelta\ndef tomorrow(d):\n    return d + timedelta(days=1)",
        "from datetime import date\nassert tomorrow(date(2024, 2, 28)) == date(2024, 2, 29)",
    ),
    ("complex and bytes", "def parts():\n    return 1 + 2j, b'\\x00a'", "assert parts() == (1 + 2j, b'\\x00a')"),
    ("range", "def span(n):\n    return range(n)", "assert span(3) == range(3)\nassert list(span(2)) == [0, 1]"),
    (
        "Counter",
        "from collections import Counter\ndef count(s):\n    return Counter(s)",
        "assert count('aab') == {'a': 2, 'b': 1}\nassert count('aab')['a'] == 2\nassert count('aab').most_common(1) == [('a', 2)]",
    ),
    (
        "OrderedDict and deque",
        "from collections import OrderedDict, deque\ndef both():\n    return OrderedDict(a=1), deque([1, 2])",
        "from collections import deque\na, b = both()\nassert a == {'a': 1}\nassert b == deque([1, 2])\nassert list(b) == [1, 2]",
    ),
    (
        "frozenset",
        "def subsets():\n    return {frozenset([1, 2]), frozenset()}",
        "assert subsets() == {frozenset(), frozenset({2, 1})}",
    ),
    (
        "map and zip",
        "def pairs(a):\n    return zip(a, map(str, a))",
        "assert list(pairs([1, 2])) == [(1, '1'), (2, '2')]",
    ),
    (
        "regular expression",
        "import re\ndef find(s):\n    return re.search(r'\\d+', s)",
        "assert find('a12').group() == '12'\nassert find('a') is None",
    ),
    ("isinstance of a built-in", ADD, "assert isinstance(add(1, 2), int)\nassert type(add(1.0, 2)) is float"),
    (
        "signature and doc",
        "def add(a: int, b: int = 2) -> int:\n    '''Add.'''\n    return a + b",
        "import inspect\nassert add.__name__ == 'add'\nassert add.__doc__ == 'Add.'\nassert list(inspect.signature(add).parameters) == ['a', 'b']\nassert add(1) == 3",
    ),
    ("unicode names", "def größe(ß):\n    return len(ß)", "assert größe('日本') == 2"),
    (
        "keyword-only",
        "def f(*xs, scale=1, **rest):\n    return sum(xs) * scale + len(rest)",
        "assert f(1, 2, scale=2, z=0) == 7\nassert f(*[1, 2], **{'scale': 3}) == 9",
    ),
    (
        "walrus, match and f-string",
        "def kind(x):\n    match x:\n        case {'a': int(n)} if (m := n) > 1:\n            return f'{m=}'\n        case [_, *rest]:\n            return len(rest)\n        case _:\n            return None",
        "assert kind({'a': 2}) == 'm=2'\nassert kind([1, 2, 3]) == 2\nassert kind(0) is None",
    ),
    ("imports solution", ADD, "from solution import add\nassert add(1, 2) == 3"),
    (
        "mock",
        "import time\ndef wait():\n    time.sleep(1)\n    return 'done'",
        "from unittest.mock import patch\nwith patch('time.sleep') as sleep:\n    assert wait() == 'done'\n    sleep.assert_called_once_with(1)",
    ),
    ("constant", "PRIMES = [2, 3, 5]\nLIMIT = 10", "assert PRIMES == [2, 3, 5]\nassert LIMIT == 10"),
]

POINT = "from dataclasses import dataclass, field\n@dataclass(order=True, frozen=True)\nclass Point:\n    x: int\n    y: int = 0\n    def __add__(self, other):\n        return Point(self.x + other.x, self.y + other.y)"
STACK = "class Stack:\n    def __init__(self):\n        self._items = []\n    def push(self, x):\n        self._items.append(x)\n    def pop(self):\n        if not self._items:\n            raise IndexError('empty')\n        return self._items.pop()\n    def __len__(self):\n        return len(self._items)\n    def __iter__(self):\n        return iter(self._items)\n    def __contains__(self, x):\n        return x in self._items\n    def __repr__(self):\n        return f'Stack({self._items})'\n    @property\n    def top(self):\n        return self._items[-1]"
NODE = "class Node:\n    def __init__(self, val, next=None):\n        self.val = val\n        self.next = next\ndef reverse(head):\n    prev = None\n    while head:\n        head.next, prev, head = prev, head, head.next\n    return prev"

MAKE = "class V:\n    def __init__(self, x):\n        self.x = x\n    def __add__(self, o):\n        return V(self.x + o.x)\n    def __lt__(self, o):\n        return self.x < o.x\n    def __eq__(self, o):\n        return self.x == o.x\n    def __neg__(self):\n        return V(-self.x)\n    def __str__(self):\n        return f'V{self.x}'\n    def __format__(self, f):\n        return format(self.x, f)\n    @property\n    def twice(self):\n        return V(2 * self.x)\ndef make(x):\n    return V(x)"
SORT = "def sort(a):\n    a.sort()"
ARRAY = "import numpy as np\ndef f():\n    return np.arange(3)"
FRAME = "import pandas as pd\ndef f():\n    return pd.DataFrame({'a': [1, 2]})"

# Tests that use what a program made, without a name of its types.
MADE = [
    ("sum of two", MAKE, "assert (make(1) + make(2)).x == 3"),
    ("order of two", MAKE, "assert make(1) < make(2)\nassert [v.x for v in sorted([make(2), make(1)])] == [1, 2]"),
    ("negative", MAKE, "assert (-make(1)).x == -1"),
    ("format", MAKE, "assert f'{make(1):.2f}' == '1.00'"),
    ("class name", MAKE, "assert make(1).__class__.__name__ == 'V'"),
    (
        "objects that are freed",
        MAKE,
        "a, b = make(1), make(2)\nassert str(a.twice) == 'V2'\nassert str(b.twice) == 'V4'\nassert str(a + b) == 'V3'\nassert str(a + a) == 'V2'",
    ),
    (
        "UUID",
        "import uuid\ndef f():\n    return uuid.UUID(int=1)",
        "import uuid\nassert isinstance(f(), uuid.UUID)\nassert f() == uuid.UUID(int=1)",
    ),
    ("a type", "def f(x):\n    return type(x)", "assert f(1) is int"),
    (
        "an error",
        "def f(x):\n    return ValueError(x)",
        "assert isinstance(f('a'), ValueError)\nassert str(f('a')) == 'a'",
    ),
    ("GeneratorType", "def f():\n    yield 1", "import types\nassert isinstance(f(), types.GeneratorType)"),
    (
        "array",
        "from array import array\ndef f():\n    return array('i', [1, 2])",
        "from array import array\nassert f() == array('i', [1, 2])",
    ),
    ("Ellipsis", "def f():\n    return ...", "assert f() is ..."),
    (
        "HTTPStatus",
        "from http import HTTPStatus\ndef f():\n    return HTTPStatus.OK",
        "from http import HTTPStatus\nassert f() is HTTPStatus.OK\nassert f() == 200",
    ),
    (
        "timezone",
        "from datetime import timezone, timedelta\ndef f():\n    return timezone(timedelta(hours=1))",
        "from datetime import timezone, timedelta\nassert f() == timezone(timedelta(hours=1))",
    ),
    ("the same object", "def f(x):\n    return x", "o = object()\nassert f(o) is o"),
    ("the same list", "def sort(a):\n    a.sort()\n    return a", "a = [3, 2]\nassert sort(a) is a"),
    (
        "defaultdict that grows",
        "from collections import defaultdict\ndef f():\n    return defaultdict(list, a=[1])",
        "d = f()\nd['b'].append(3)\nassert d == {'a': [1], 'b': [3]}",
    ),
    (
        "deque with a limit",
        "from collections import deque\ndef f(a):\n    return deque(a, maxlen=2)",
        "assert f([1, 2, 3]).maxlen == 2\nassert list(f([1, 2, 3])) == [2, 3]",
    ),
    (
        "lowercase container that changes",
        "data = {'a': 1}\ndef inc(k):\n    data[k] += 1",
        "inc('a')\nassert data['a'] == 2\ndata['b'] = 5\ninc('b')\nassert data['b'] == 6",
    ),
    (
        "lowercase list that changes",
        "items = []\ndef add(x):\n    items.append(x)",
        "mine = items\nadd(1)\nassert mine == [1]\nassert len(items) == 1",
    ),
    (
        "sorted in place, in a loop",
        SORT,
        "for a, want in [([2, 1], [1, 2]), ([], [])]:\n    sort(a)\n    assert a == want",
    ),
    (
        "sorted in place, by a property",
        SORT,
        "a = [3, 2, 9]\nsort(a)\nassert all(a[i] <= a[i + 1] for i in range(len(a) - 1))",
    ),
    (
        "sorted in place, in unittest",
        SORT,
        "import unittest\nclass T(unittest.TestCase):\n    def test_sort(self):\n        a = [2, 1]\n        sort(a)\n        self.assertEqual(a, [1, 2])",
    ),
    (
        "array of numpy",
        ARRAY,
        "assert f().tolist() == [0, 1, 2]\nassert f().shape == (3,)\nassert f().sum() == 3\nassert f().dtype.kind == 'i'",
    ),
    ("array of numpy and a list", ARRAY, "assert (f() == [0, 1, 2]).all()"),
    (
        "arrays of numpy",
        ARRAY,
        "import numpy as np\nassert isinstance(f(), np.ndarray)\nnp.testing.assert_array_equal(f(), np.arange(3))\nassert np.all(f() == np.arange(3))",
    ),
    (
        "arrays in a dict",
        "import numpy as np\ndef f():\n    return {'a': np.arange(2)}",
        "assert f()['a'].shape == (2,)",
    ),
    (
        "number of numpy",
        "import numpy as np\ndef f():\n    return np.float64(0.5)",
        "assert f().item() == 0.5\nassert f() == 0.5",
    ),
    (
        "DataFrame",
        FRAME,
        "df = f()\nassert df['a'].sum() == 3\nassert list(df.columns) == ['a']\nassert df.shape == (2, 1)\nassert len(df) == 2",
    ),
    (
        "DataFrame of the tests",
        FRAME,
        "import pandas as pd\npd.testing.assert_frame_equal(f(), pd.DataFrame({'a': [1, 2]}))",
    ),
    (
        "environment",
        "import os\ndef f():\n    return os.environ.get('KEY_X', 'no')",
        "from unittest import mock\nimport os\nwith mock.patch.dict(os.environ, {'KEY_X': 'v'}):\n    assert f() == 'v'\nassert f() == 'no'",
    ),
    (
        "files",
        "def save(p, t):\n    with open(p, 'w') as f:\n        f.write(t)",
        "import tempfile, os\np = os.path.join(tempfile.mkdtemp(), 'a.txt')\nsave(p, 'hi')\nassert open(p).read() == 'hi'",
    ),
    (
        "threads",
        "import threading\nclass C:\n    def __init__(self):\n        self.n, self.lock = 0, threading.Lock()\n    def inc(self):\n        with self.lock:\n            self.n += 1",
        "import threading\nc = C()\nts = [threading.Thread(target=c.inc) for _ in range(8)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nassert c.n == 8",
    ),
    (
        "thread pool",
        "from concurrent.futures import ThreadPoolExecutor\ndef sq(xs):\n    with ThreadPoolExecutor(4) as p:\n        return list(p.map(lambda x: x * x, xs))",
        "assert sq([1, 2]) == [1, 4]",
    ),
    (
        "async generator",
        "async def gen(n):\n    for i in range(n):\n        yield i",
        "import asyncio\nasync def main():\n    return [x async for x in gen(3)]\nassert asyncio.run(main()) == [0, 1, 2]",
    ),
    (
        "decorator in the tests",
        "def retry(n):\n    def deco(f):\n        def g(*a):\n            for i in range(n):\n                try:\n                    return f(*a)\n                except ValueError:\n                    if i == n - 1:\n                        raise\n        return g\n    return deco",
        "tries = 0\n@retry(3)\ndef flaky():\n    global tries\n    tries += 1\n    if tries < 3:\n        raise ValueError\n    return 'ok'\nassert flaky() == 'ok'\nassert tries == 3",
    ),
    (
        "SystemExit",
        "import sys\ndef f():\n    sys.exit('bye')",
        "import pytest\ndef test_exit():\n    with pytest.raises(SystemExit):\n        f()",
    ),
    (
        "its own assert",
        "def f(n):\n    assert n > 0, 'positive'\n    return n",
        "import pytest\ndef test_f():\n    with pytest.raises(AssertionError):\n        f(0)\n    assert f(1) == 1",
    ),
    (
        "warning",
        "import warnings\ndef f():\n    warnings.warn('old', DeprecationWarning)\n    return 1",
        "import pytest\ndef test_f():\n    with pytest.warns(DeprecationWarning):\n        assert f() == 1",
    ),
    (
        "assertLogs",
        "import logging\ndef f():\n    logging.getLogger('a').warning('hey')",
        "import unittest\nclass T(unittest.TestCase):\n    def test_log(self):\n        with self.assertLogs('a') as l:\n            f()\n        self.assertEqual(l.output, ['WARNING:a:hey'])",
    ),
]

LOCK = "class Lock:\n    held = False\n    def __enter__(self):\n        self.held = True\n    def __exit__(self, *_):\n        self.held = False\ndef lock():\n    return Lock()"
NUMBER = "class N:\n    def __init__(self, n):\n        self.n = n\n    def __add__(self, o):\n        return N(self.n + getattr(o, 'n', o))\n    def __mul__(self, o):\n        return N(self.n * o)\n    __radd__ = __add__\n    __rmul__ = __mul__\ndef num(n):\n    return N(n)"
STATISTICS = "import statistics\ndef f(v):\n    return statistics.mean(v)"
STATISTICS_TESTS = "import statistics\nassert f([1, 3]) == 2\ntry:\n    f([])\n    assert False\nexcept statistics.StatisticsError:\n    pass"

# Right programs that got 0 because of how their tests are written.
REPAIRED = [
    (
        "Path",
        "from pathlib import Path\ndef f(n):\n    return Path(n)",
        "from pathlib import Path\nassert f('a/b') == Path('a/b')",
    ),
    ("keys", "def f(d):\n    return d.keys()", "assert f({1: 2}) == {1}"),
    ("keys again", "def f(d):\n    return d.keys()", "assert sorted(f({3: 1, 2: 1})) == [2, 3]"),
    ("with a name", LOCK, "l = lock()\nwith l:\n    assert l.held\nassert not l.held"),
    ("docstring", ADD + "\nadd.__doc__ = 'Add.'", "assert add.__doc__ == 'Add.'\nassert add(1, 2) == 3"),
    ("dict of an object", MAKE, "assert vars(make(2)) == make(2).__dict__ == {'x': 2}"),
    ("name of a type", MAKE, "assert type([make(1)][0]).__name__ == 'V'"),
    ("object plus number", NUMBER, "assert (num(1) + 2).n == 3\nassert sum([num(1), num(2)]).n == 3"),
    ("number times object", NUMBER, "assert (3 * num(2)).n == 6\nassert (num(2) * 3).n == 6"),
    ("test with a parameter", ADD, "def test_add(f):\n    assert f(1, 2) == 3\ntest_add(add)"),
    ("guard", ADD, "def test_add(f):\n    assert f(1, 2) == 3\nif __name__ == '__main__':\n    test_add(add)"),
    (
        "guard with exit",
        ADD,
        "def test_a():\n    assert add(1, 2) == 3\nif __name__ == '__main__':\n    import pytest\n    exit(pytest.main())",
    ),
    ("module and its error", STATISTICS, STATISTICS_TESTS),
]

# Right programs that get 0, and why.
REFUSED = [
    (
        "number of the module",
        "state = 0\ndef up():\n    global state\n    state += 1",
        "import solution\nup()\nassert solution.state == 1",
    ),
    (
        "list of a made object",
        "class T:\n    pass\ndef build():\n    t = T()\n    t.items = [1]\n    return t",
        "t = build()\nt.items.append(2)\nassert t.items == [1, 2]",
    ),
    (
        "process pool",
        "from multiprocessing import Pool\ndef sq1(x):\n    return x * x\ndef sq(xs):\n    with Pool(2) as p:\n        return p.map(sq1, xs)",
        "assert sq([1, 2]) == [1, 4]",
    ),
]

LIAR = "class Liar:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 1\n"

# Wrong programs whose values or libraries lie.
WRONG = [
    (
        "deque of liars",
        LIAR + "from collections import deque\ndef f():\n    return deque([Liar()])",
        "from collections import deque\nassert f() == deque([sum([1, 2])])",
    ),
    (
        "Counter of liars",
        LIAR + "from collections import Counter\ndef f():\n    return Counter(a=Liar())",
        "from collections import Counter\nassert f() == Counter(a=sum([1, 2]))",
    ),
    (
        "Fraction of liars",
        LIAR
        + "from fractions import Fraction\ndef f():\n    r = Fraction(1)\n    r._numerator = r._denominator = Liar()\n    return r",
        "from fractions import Fraction\nassert f() == Fraction(sum([1, 2]))",
    ),
    (
        "array of liars",
        LIAR + "import numpy as np\ndef f():\n    return np.array([Liar()])",
        "import numpy as np\nassert np.array_equal(f(), np.array([3]))",
    ),
    (
        "patched allclose",
        "import numpy as np\nnp.allclose = lambda *a: True\ndef f():\n    return 0",
        "import numpy as np\nassert np.allclose(f(), [3])",
    ),
    (
        "patched assert_allclose",
        "import numpy as np\nnp.testing.assert_allclose = print\ndef f():\n    return 0",
        "import numpy as np\nnp.testing.assert_allclose(f(), [3])",
    ),
    (
        "guard that tests",
        "def add(a, b):\n    return 3",
        "def run():\n    assert add(5, 7) == 12\nif __name__ == '__main__':\n    run()",
    ),
    (
        "sum of a liar",
        LIAR
        + "class Zero(Liar):\n    def __add__(self, o):\n        return Liar()\n    __radd__ = __add__\ndef f():\n    return Zero()",
        "assert f() + 1 == 4\nassert sum([f(), f()]) == 6",
    ),
    (
        "less than any number",
        "class Low:\n    def __lt__(self, other):\n        return True\n    def __sub__(self, other):\n        return Low()\n    def __abs__(self):\n        return Low()\ndef f():\n    return Low()",
        "assert abs(f() - 3) < 1e-6",
    ),
]

# Tests that use the program's own types.
TYPES = [
    (
        "dataclass",
        POINT,
        "assert Point(1) == Point(1, 0)\nassert Point(1, 2) + Point(1, 1) == Point(2, 3)\nassert Point(1) < Point(2)",
    ),
    (
        "dataclass functions",
        POINT,
        "from dataclasses import asdict, replace, fields\nassert asdict(Point(1, 2)) == {'x': 1, 'y': 2}\nassert replace(Point(1, 2), x=5) == Point(5, 2)\nassert [f.name for f in fields(Point)] == ['x', 'y']",
    ),
    ("hash", POINT, "assert len({Point(1), Point(1)}) == 1\nassert {Point(1): 'a'}[Point(1)] == 'a'"),
    (
        "frozen",
        POINT,
        "from dataclasses import FrozenInstanceError\ntry:\n    Point(1).x = 2\n    assert False\nexcept FrozenInstanceError:\n    pass",
    ),
    ("repr", POINT, "assert repr(Point(1, 2)) == 'Point(x=1, y=2)'\nassert sorted([Point(2), Point(1)])[0].x == 1"),
    (
        "stack",
        STACK,
        "s = Stack()\ns.push(1)\ns.push(2)\nassert len(s) == 2 and 1 in s and s.top == 2\nassert list(s) == [1, 2]\nassert s.pop() == 2\nassert len(s) == 1\nassert str(s) == 'Stack([1])'",
    ),
    (
        "stack that is empty",
        STACK,
        "s = Stack()\nassert not s\ntry:\n    s.pop()\n    assert False, 'no error'\nexcept IndexError as e:\n    assert 'empty' in str(e)",
    ),
    (
        "private attribute",
        STACK,
        "s = Stack()\ns.push(1)\nassert s._items == [1]\ns.push(2)\nassert s._items == [1, 2]",
    ),
    (
        "linked list",
        NODE,
        "h = reverse(Node(1, Node(2, Node(3))))\nout = []\nwhile h:\n    out.append(h.val)\n    h = h.next\nassert out == [3, 2, 1]",
    ),
    (
        "linked list, with a function of the tests",
        NODE,
        "def to_list(n):\n    return [] if n is None else [n.val] + to_list(n.next)\ndef make(a):\n    return Node(a[0], make(a[1:])) if a else None\nassert to_list(reverse(make([1, 2, 3]))) == [3, 2, 1]",
    ),
    (
        "Enum",
        "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    BLUE = 2\ndef favourite():\n    return Color.RED",
        "assert favourite() == Color.RED\nassert favourite() is Color.RED\nassert favourite().name == 'RED'\nassert Color(2) is Color.BLUE\nassert [c.value for c in Color] == [1, 2]\nassert Color['RED'].value == 1",
    ),
    (
        "IntEnum and Flag",
        "from enum import IntEnum, Flag, auto\nclass P(IntEnum):\n    LOW = 1\n    HIGH = 2\nclass F(Flag):\n    A = auto()\n    B = auto()",
        "assert P.LOW < P.HIGH\nassert P.LOW == 1\nassert F.A in (F.A | F.B)",
    ),
    (
        "NamedTuple",
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int\n    b: str = 'x'\ndef make(n):\n    return Pair(n)",
        "assert make(1) == (1, 'x')\nassert make(1).b == 'x'\na, b = make(2)\nassert a == 2\nassert make(3)._replace(a=4).a == 4",
    ),
    (
        "namedtuple without its name",
        "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')\ndef make(n):\n    return Pair(n, n)",
        "p = make(3)\nassert p.a == 3\nassert p[1] == 3\nassert p == (3, 3)",
    ),
    (
        "TypedDict and Protocol",
        "from typing import TypedDict, Protocol\nclass User(TypedDict):\n    name: str\nclass Named(Protocol):\n    name: str\ndef user(n: str) -> User:\n    return User(name=n)",
        "assert user('a') == {'name': 'a'}",
    ),
    (
        "Generic",
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass Box(Generic[T]):\n    def __init__(self, v: T):\n        self.v = v\n    def get(self) -> T:\n        return self.v",
        "assert Box[int](3).get() == 3\nassert Box('a').v == 'a'",
    ),
    (
        "slots and setter",
        "class T:\n    __slots__ = ('_c',)\n    def __init__(self, c):\n        self._c = c\n    @property\n    def f(self):\n        return self._c * 9 / 5 + 32\n    @f.setter\n    def f(self, v):\n        self._c = (v - 32) * 5 / 9",
        "t = T(100)\nassert t.f == 212\nt.f = 32\nassert t._c == 0",
    ),
    (
        "setter that refuses",
        "class A:\n    def __init__(self):\n        self._n = 0\n    @property\n    def n(self):\n        return self._n\n    @n.setter\n    def n(self, v):\n        if v < 0:\n            raise ValueError('negative')\n        self._n = v",
        "a = A()\na.n = 3\nassert a.n == 3\ntry:\n    a.n = -1\n    assert False\nexcept ValueError:\n    pass\nassert a.n == 3",
    ),
    (
        "abstract class",
        "from abc import ABC, abstractmethod\nclass Shape(ABC):\n    @abstractmethod\n    def area(self): ...\nclass Square(Shape):\n    def __init__(self, a):\n        self.a = a\n    def area(self):\n        return self.a ** 2",
        "assert Square(3).area() == 9\nassert issubclass(Square, Shape)\ntry:\n    Shape()\n    assert False\nexcept TypeError:\n    pass",
    ),
    (
        "a subclass in the tests",
        "class Animal:\n    def speak(self):\n        return self.sound() + '!'\n    def sound(self):\n        raise NotImplementedError",
        "class Dog(Animal):\n    def sound(self):\n        return 'woof'\nassert Dog().speak() == 'woof!'\nassert isinstance(Dog(), Animal)",
    ),
    (
        "own error",
        "class Poor(Exception):\n    def __init__(self, need):\n        super().__init__(f'need {need}')\n        self.need = need\ndef pay(have, cost):\n    if have < cost:\n        raise Poor(cost - have)\n    return have - cost",
        "assert pay(3, 1) == 2\ntry:\n    pay(1, 3)\nexcept Poor as e:\n    assert e.need == 2 and str(e) == 'need 2'\nelse:\n    raise AssertionError",
    ),
    (
        "context manager",
        "class Opened:\n    def __init__(self):\n        self.open = False\n    def __enter__(self):\n        self.open = True\n        return self\n    def __exit__(self, *a):\n        self.open = False",
        "o = Opened()\nwith o as p:\n    assert p.open\nassert not o.open",
    ),
    (
        "contextlib",
        "from contextlib import contextmanager\nlog = []\n@contextmanager\ndef tag(n):\n    log.append(f'<{n}>')\n    yield n\n    log.append(f'</{n}>')",
        "with tag('a') as t:\n    assert t == 'a'\nassert log == ['<a>', '</a>']",
    ),
    (
        "operators",
        "class V:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, o):\n        return isinstance(o, V) and self.x == o.x\n    def __mul__(self, k):\n        return V(self.x * k)\n    __rmul__ = __mul__\n    def __neg__(self):\n        return V(-self.x)\n    def __getitem__(self, i):\n        return self.x\n    def __bool__(self):\n        return self.x != 0\n    def __iadd__(self, o):\n        self.x += o.x\n        return self",
        "assert (V(2) * 3).x == 6\nassert (3 * V(2)) == V(6)\nassert (-V(1))[0] == -1\nassert not V(0)\nv = V(1)\nv += V(2)\nassert v.x == 3\nassert V(1) != V(2)",
    ),
    (
        "total_ordering",
        "from functools import total_ordering\n@total_ordering\nclass N:\n    def __init__(self, n):\n        self.n = n\n    def __eq__(self, o):\n        return self.n == o.n\n    def __lt__(self, o):\n        return self.n < o.n",
        "assert N(1) <= N(2)\nassert max([N(1), N(3)], key=lambda v: v.n).n == 3\nassert max(N(1), N(3)).n == 3",
    ),
    (
        "class method and counter",
        "class C:\n    made = 0\n    def __init__(self):\n        type(self).made += 1\n    @classmethod\n    def many(cls, n):\n        return [cls() for _ in range(n)]\n    @staticmethod\n    def one():\n        return 1",
        "assert C.made == 0\nassert len(C.many(3)) == 3\nassert C.made == 3\nassert C.one() == 1",
    ),
    (
        "singleton",
        "class S:\n    _one = None\n    def __new__(cls):\n        if cls._one is None:\n            cls._one = super().__new__(cls)\n        return cls._one",
        "assert S() is S()",
    ),
    (
        "iterator",
        "class Down:\n    def __init__(self, n):\n        self.n = n\n    def __iter__(self):\n        return self\n    def __next__(self):\n        if self.n == 0:\n            raise StopIteration\n        self.n -= 1\n        return self.n + 1",
        "assert list(Down(3)) == [3, 2, 1]\nd = Down(1)\nassert next(d) == 1\ntry:\n    next(d)\n    assert False\nexcept StopIteration:\n    pass",
    ),
    (
        "fluent",
        "class Q:\n    def __init__(self):\n        self.parts = []\n    def add(self, p):\n        self.parts.append(p)\n        return self\n    def build(self):\n        return ' '.join(self.parts)",
        "assert Q().add('a').add('b').build() == 'a b'",
    ),
    (
        "state between calls",
        "class Account:\n    def __init__(self, owner, balance=0):\n        self.owner, self.balance = owner, balance\n        self.history = []\n    def deposit(self, n):\n        self.balance += n\n        self.history.append(('deposit', n))\n        return self.balance",
        "a = Account('ann')\nassert a.balance == 0\nassert a.deposit(5) == 5\na.deposit(7)\nassert a.balance == 12\nassert a.history == [('deposit', 5), ('deposit', 7)]\nassert a.owner == 'ann'",
    ),
    (
        "LRU cache",
        "from collections import OrderedDict\nclass LRUCache:\n    def __init__(self, capacity):\n        self.d, self.c = OrderedDict(), capacity\n    def get(self, k):\n        if k not in self.d:\n            return -1\n        self.d.move_to_end(k)\n        return self.d[k]\n    def put(self, k, v):\n        self.d[k] = v\n        self.d.move_to_end(k)\n        if len(self.d) > self.c:\n            self.d.popitem(last=False)",
        "c = LRUCache(2)\nc.put(1, 1)\nc.put(2, 2)\nassert c.get(1) == 1\nc.put(3, 3)\nassert c.get(2) == -1",
    ),
    (
        "metaclass and descriptor",
        "class Upper:\n    def __set_name__(self, owner, name):\n        self.name = '_' + name\n    def __get__(self, o, t=None):\n        return getattr(o, self.name)\n    def __set__(self, o, v):\n        setattr(o, self.name, v.upper())\nclass Reg(type):\n    names = []\n    def __new__(m, n, b, d):\n        m.names.append(n)\n        return super().__new__(m, n, b, d)\nclass User(metaclass=Reg):\n    name = Upper()",
        "u = User()\nu.name = 'ann'\nassert u.name == 'ANN'\nassert Reg.names == ['User']",
    ),
    (
        "tree from a function",
        "class Tree:\n    def __init__(self, v):\n        self.v, self.left, self.right = v, None, None\ndef build(a):\n    if not a:\n        return None\n    m = len(a) // 2\n    t = Tree(a[m])\n    t.left, t.right = build(a[:m]), build(a[m + 1:])\n    return t",
        "t = build([1, 2, 3])\nassert t.v == 2\nassert t.left.v == 1 and t.right.v == 3\nassert t.left.left is None",
    ),
    (
        "pickle and copy",
        POINT,
        "import copy\np = Point(1, 2)\nassert copy.deepcopy(p) == p\nassert copy.copy(p) is not None",
    ),
    ("weak reference and id", "class A:\n    pass\ndef same(a):\n    return a", "a = A()\nassert same(a) is a"),
    (
        "singledispatch",
        "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 'any'\n@show.register\ndef _(x: int):\n    return 'int'",
        "assert show(1) == 'int'\nassert show('a') == 'any'",
    ),
]

# unittest and pytest.
SUITES = [
    (
        "TestCase",
        ADD,
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)",
    ),
    (
        "unittest.main",
        ADD,
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\nif __name__ == '__main__':\n    unittest.main()",
    ),
    (
        "unittest.main, exit=False",
        ADD,
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\nunittest.main(argv=[''], exit=False, verbosity=2)",
    ),
    (
        "TextTestRunner",
        ADD,
        "import unittest\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\nsuite = unittest.TestLoader().loadTestsFromTestCase(TestAdd)\nresult = unittest.TextTestRunner().run(suite)\nassert result.wasSuccessful()",
    ),
    (
        "from unittest import TestCase",
        ADD,
        "from unittest import TestCase, main\nclass TestAdd(TestCase):\n    def test_add(self):\n        self.assertTrue(add(1, 2) == 3)\n        self.assertIsInstance(add(1, 2), int)\n        self.assertIn(add(1, 2), [3, 4])\n        self.assertGreater(add(1, 2), 2)",
    ),
    (
        "setUp",
        STACK,
        "import unittest\nclass TestStack(unittest.TestCase):\n    def setUp(self):\n        self.s = Stack()\n    def test_push(self):\n        self.s.push(1)\n        self.assertEqual(len(self.s), 1)\n        self.assertListEqual(list(self.s), [1])\n    def test_pop(self):\n        with self.assertRaises(IndexError):\n            self.s.pop()",
    ),
    (
        "setUpClass and tearDown",
        ADD,
        "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n        cls.base = 10\n    def tearDown(self):\n        self.assertEqual(self.base, 10)\n    def test_base(self):\n        self.assertEqual(add(self.base, 1), 11)",
    ),
    (
        "assertRaisesRegex",
        "def div(a, b):\n    if not b:\n        raise ValueError('b is zero')\n    return a / b",
        "import unittest\nclass T(unittest.TestCase):\n    def test_zero(self):\n        with self.assertRaisesRegex(ValueError, 'zero'):\n            div(1, 0)\n        with self.assertRaises(ValueError) as cm:\n            div(1, 0)\n        self.assertEqual(str(cm.exception), 'b is zero')\n        self.assertRaises(ValueError, div, 1, 0)",
    ),
    (
        "assertAlmostEqual",
        "def third(x):\n    return x / 3",
        "import unittest\nclass T(unittest.TestCase):\n    def test_third(self):\n        self.assertAlmostEqual(third(1), 0.3333, places=3)\n        self.assertAlmostEqual(third(1), 0.33, delta=0.01)",
    ),
    (
        "subTest",
        ADD,
        "import unittest\nclass T(unittest.TestCase):\n    def test_many(self):\n        for a, b, c in [(1, 2, 3), (2, 2, 4)]:\n            with self.subTest(a=a, b=b):\n                self.assertEqual(add(a, b), c)",
    ),
    (
        "skipped and expected failure",
        ADD,
        "import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('later')\n    def test_later(self):\n        self.fail()\n    def test_add(self):\n        self.assertEqual(add(1, 1), 2)",
    ),
    (
        "async TestCase",
        "async def add(a, b):\n    return a + b",
        "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n    async def test_add(self):\n        self.assertEqual(await add(1, 2), 3)",
    ),
    (
        "unittest with own types",
        POINT,
        "import unittest\nclass T(unittest.TestCase):\n    def test_sum(self):\n        self.assertEqual(Point(1) + Point(2), Point(3))\n        self.assertNotEqual(Point(1), Point(2))\n        self.assertIsInstance(Point(1), Point)\n        self.assertLess(Point(1), Point(2))",
    ),
    (
        "unittest imports solution",
        ADD,
        "import unittest\nfrom solution import add\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)",
    ),
    (
        "unittest with a mock of input",
        "def ask():\n    return int(input('n? ')) * 2",
        "import unittest\nfrom unittest.mock import patch\nclass T(unittest.TestCase):\n    @patch('builtins.input', return_value='4')\n    def test_ask(self, _):\n        self.assertEqual(ask(), 8)",
    ),
    (
        "unittest with captured output",
        "def hello():\n    print('hi')",
        "import unittest, io\nfrom unittest.mock import patch\nclass T(unittest.TestCase):\n    @patch('sys.stdout', new_callable=io.StringIO)\n    def test_hello(self, out):\n        hello()\n        self.assertEqual(out.getvalue(), 'hi\\n')",
    ),
    (
        "pytest function",
        ADD,
        "def test_add():\n    assert add(1, 2) == 3\n\ndef test_zero():\n    assert add(0, 0) == 0",
    ),
    (
        "pytest class",
        ADD,
        "class TestAdd:\n    def test_add(self):\n        assert add(1, 2) == 3\n    def test_zero(self):\n        assert add(0, 0) == 0",
    ),
    (
        "pytest setup_method",
        STACK,
        "class TestStack:\n    def setup_method(self):\n        self.s = Stack()\n    def test_push(self):\n        self.s.push(4)\n        assert self.s.top == 4",
    ),
    (
        "pytest.raises",
        "def div(a, b):\n    return a / b",
        "import pytest\ndef test_zero():\n    with pytest.raises(ZeroDivisionError):\n        div(1, 0)",
    ),
    (
        "pytest.raises, match",
        "def check(n):\n    if n < 0:\n        raise ValueError(f'{n} is negative')\n    return n",
        "import pytest\ndef test_negative():\n    with pytest.raises(ValueError, match='negative') as e:\n        check(-1)\n    assert '-1' in str(e.value)\n    pytest.raises(ValueError, check, -2)\n    assert check(1) == 1",
    ),
    (
        "pytest.raises of an own error",
        "class Poor(ValueError):\n    pass\ndef pay(n):\n    if n > 9:\n        raise Poor(n)\n    return n",
        "import pytest\ndef test_poor():\n    with pytest.raises(Poor):\n        pay(10)\n    assert pay(3) == 3",
    ),
    (
        "pytest.raises of several errors",
        "def look(d, k):\n    return d[k]",
        "import pytest\ndef test_look():\n    with pytest.raises((KeyError, IndexError)):\n        look({}, 1)\n    assert look([5], 0) == 5",
    ),
    (
        "pytest.approx",
        "def third(x):\n    return x / 3",
        "import pytest\ndef test_third():\n    assert third(1) == pytest.approx(0.3333333)\n    assert [third(1), third(2)] == pytest.approx([0.333, 0.667], abs=1e-3)",
    ),
    (
        "approx of a list",
        "def halves(n):\n    return [i / 2 for i in range(n)]",
        "from pytest import approx\ndef test_halves():\n    assert halves(3) == approx([0, 0.5, 1.0])",
    ),
    (
        "pytest.main is called",
        ADD,
        "import pytest\ndef test_add():\n    assert add(1, 2) == 3\nif __name__ == '__main__':\n    pytest.main([__file__])",
    ),
    (
        "pytest with helpers",
        ADD,
        "CASES = [(1, 2, 3), (5, 5, 10)]\ndef run(case):\n    a, b, want = case\n    return add(a, b) == want\ndef test_cases():\n    assert all(map(run, CASES))",
    ),
    (
        "doctest text in the program",
        "def add(a, b):\n    '''\n    >>> add(1, 2)\n    3\n    '''\n    return a + b\nif __name__ == '__main__':\n    import doctest\n    doctest.testmod()",
        "def test_add():\n    assert add(1, 2) == 3",
    ),
    (
        "program with its own tests",
        ADD + "\ndef test_add():\n    assert add(1, 1) == 2\ntest_add()",
        "def test_add():\n    assert add(1, 2) == 3",
    ),
    (
        "tests that call themselves",
        ADD,
        "def test_add():\n    assert add(1, 2) == 3\n    print('passed')\n\ntest_add()",
    ),
]

# Completions: where the program stands. Each row: name, completion.
LAYOUTS = [
    ("plain", f"```python\n{ADD}\n```"),
    ("py", f"Here:\n```py\n{ADD}\n```\nDone."),
    ("version", f"```python3.11\n{ADD}\n```"),
    ("file", f"```python:src/add.py\n{ADD}\n```"),
    ("py3", f"```py3\n{ADD}\n```"),
    ("Python3", f"```python3\n{ADD}\n```"),
    ("capital", f"```Python\n{ADD}\n```"),
    ("braces", f"```{{python}}\n{ADD}\n```"),
    ("glued fence", f"```python\n{ADD}```"),
    ("indented fence", "1. The code:\n\n   ```python\n   def add(a, b):\n       return a + b\n   ```"),
    ("CRLF", f"```python\n{ADD}\n```".replace("\n", "\r\n")),
    ("after thinking", f"<think>\nFirst:\n```python\ndef add(a, b): return 0\n```\n</think>\n```python\n{ADD}\n```"),
    ("in answer", f"<think>x</think><answer>\n```python\n{ADD}\n```\n</answer>"),
    ("sample block later", f"```python\n{ADD}\n```\nFor example:\n```python\nprint(add(1, 2))\n```"),
    ("output block later", f"```python\n{ADD}\n```\nIt prints:\n```\n3\n```"),
    ("a draft first", f"```python\ndef add(a, b): return a - b\n```\nBetter:\n```python\n{ADD}\n```"),
    ("bash block", f"```bash\npip install x\n```\n```python\n{ADD}\n```"),
    ("tabs", "```python\ndef add(a, b):\n\treturn a + b\n```"),
    ("fence in a docstring", '```python\ndef add(a, b):\n    """Add: `a + b`."""\n    return a + b\n```'),
    ("tildes", f"~~~python\n{ADD}\n~~~"),
    ("attributes", f'```python title="add.py"\n{ADD}\n```'),
    ("future import", f"```python\nfrom __future__ import annotations\n{ADD}\n```"),
    ("encoding line", f"```python\n#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n{ADD}\n```"),
]

# Completions, their tests and their scores.
MIXED = [
    (
        "pyramid",
        "```python\nn=int(input())\nfor i in range(n): print(' '*(n-1-i)+'*'*(2*i+1))\n```",
        {"inputs": ["3\n"], "outputs": ["  *\n ***\n*****\n"]},
        1,
    ),
    (
        "pyramid flat",
        "```python\nn=int(input())\nfor i in range(n): print('*'*(2*i+1))\n```",
        {"inputs": ["3\n"], "outputs": ["  *\n ***\n*****\n"]},
        0,
    ),
    (
        "pyramid trailing",
        "```python\nn=int(input())\nfor i in range(n): print((' '*(n-1-i)+'*'*(2*i+1)).ljust(9))\n```",
        {"inputs": ["3\n"], "outputs": ["  *\n ***\n*****\n"]},
        1,
    ),
    (
        "pyramid sample only",
        "```python\ninput();print('  *\\n ***\\n*****')\n```",
        {"inputs": ["3\n", "2\n"], "outputs": ["  *\n ***\n*****\n", " *\n***\n"]},
        0,
    ),
    (
        "transpose star",
        "```python\nr,c=map(int,input().split())\nm=[input().split() for _ in range(r)]\nfor l in zip(*m): print(*l)\n```",
        {"inputs": ["2 3\n1 2 3\n4 5 6\n"], "outputs": ["1 4\n2 5\n3 6\n"]},
        1,
    ),
    (
        "transpose trailing space",
        "```python\nr,c=map(int,input().split())\nm=[input().split() for _ in range(r)]\nfor l in zip(*m):\n    for v in l: print(v,end=' ')\n    print()\n```",
        {"inputs": ["2 3\n1 2 3\n4 5 6\n"], "outputs": ["1 4\n2 5\n3 6\n"]},
        1,
    ),
    (
        "transpose one line",
        "```python\nr,c=map(int,input().split())\nm=[input().split() for _ in range(r)]\nprint(*[v for l in zip(*m) for v in l])\n```",
        {"inputs": ["2 3\n1 2 3\n4 5 6\n"], "outputs": ["1 4\n2 5\n3 6\n"]},
        0,
    ),
    (
        "no final newline",
        "```python\nimport sys\nsys.stdout.write('\\n'.join(map(str,range(int(input())))))\n```",
        {"inputs": ["3"], "outputs": ["0\n1\n2\n"]},
        1,
    ),
    (
        "float format",
        "```python\na,b=map(float,input().split())\nprint(a/b)\n```",
        {"inputs": ["1 3", "2 3"], "outputs": ["0.333333333", "0.666666667"]},
        1,
    ),
    (
        "float imprecise",
        "```python\na,b=map(float,input().split())\nprint(round(a/b,3))\n```",
        {"inputs": ["1 3", "2 3"], "outputs": ["0.333333333", "0.666666667"]},
        0,
    ),
    ("float as integer", "```python\nprint(int(input())/2)\n```", {"inputs": ["4"], "outputs": ["2"]}, 0),
    ("exponent", "```python\nprint('1e-07')\n```", {"inputs": [""], "outputs": ["0.0000001"]}, 1),
    (
        "case yes",
        "```python\nprint('yes' if int(input())%2==0 else 'no')\n```",
        {"inputs": ["2", "3"], "outputs": ["YES", "NO"]},
        0,
    ),
    ("empty output", "```python\ns=input()\nif s: print(s)\n```", {"inputs": ["\n", "a\n"], "outputs": ["", "a"]}, 1),
    (
        "json outputs",
        "```python\nimport json\nd=json.loads(input())\nprint(json.dumps({k:v*2 for k,v in d.items()}))\n```",
        {"inputs": ['{"a": 1}\n'], "outputs": ['{"a": 2}\n']},
        1,
    ),
    ("quoted repr", "```python\nprint(repr(input()))\n```", {"inputs": ["ab"], "outputs": ["'ab'"]}, 1),
    (
        "sample of several",
        "```python\nn=int(input())\nprint({1:1,2:3}.get(n,0))\n```",
        {"inputs": ["1", "2", "3"], "outputs": ["1", "3", "6"]},
        0,
    ),
    (
        "input until EOF walrus",
        "```python\nimport sys\nt=0\nwhile (l:=sys.stdin.readline()):\n    t+=len(l.split())\nprint(t)\n```",
        {"inputs": ["a b\nc\n\nd e f"], "outputs": ["6"]},
        1,
    ),
    ("prompt of input", "```python\nn=int(input('n: '))\nprint(n+1)\n```", {"inputs": ["1"], "outputs": ["2"]}, 0),
    (
        "debug print",
        "```python\nn=int(input())\nprint('debug',n)\nprint(n+1)\n```",
        {"inputs": ["1"], "outputs": ["2"]},
        0,
    ),
    (
        "debug stderr",
        "```python\nimport sys\nn=int(input())\nprint('debug',n,file=sys.stderr)\nprint(n+1)\n```",
        {"inputs": ["1"], "outputs": ["2"]},
        1,
    ),
    (
        "exit code 1 after the answer",
        "```python\nimport sys\nprint(int(input())+1)\nsys.exit(1)\n```",
        {"inputs": ["1"], "outputs": ["2"]},
        0,
    ),
    (
        "class Main",
        "```python\nclass Main:\n    def run(self): print(sum(map(int,input().split())))\nMain().run()\n```",
        {"inputs": ["1 2", "4 5"], "outputs": ["3", "9"]},
        1,
    ),
    (
        "async main",
        "```python\nimport asyncio\nasync def main(): print(sum(map(int,input().split())))\nasyncio.run(main())\n```",
        {"inputs": ["1 2", "4 5"], "outputs": ["3", "9"]},
        1,
    ),
    (
        "threads",
        "```python\nimport threading\nt=threading.Thread(target=lambda: print(sum(map(int,input().split()))))\nt.start()\nt.join()\n```",
        {"inputs": ["1 2", "4 5"], "outputs": ["3", "9"]},
        1,
    ),
    (
        "atexit print",
        "```python\nimport atexit\nv=sum(map(int,input().split()))\natexit.register(lambda: print(v))\n```",
        {"inputs": ["1 2", "4 5"], "outputs": ["3", "9"]},
        1,
    ),
    (
        "subprocess",
        "```python\nimport subprocess,sys\na,c=input().split()\nprint(subprocess.check_output([sys.executable,'-c',f'print({a}+{c})'],text=True).strip())\n```",
        {"inputs": ["1 2", "4 5"], "outputs": ["3", "9"]},
        1,
    ),
    (
        "solve() not called",
        "```python\ndef solve():\n    print(sum(map(int,input().split())))\n```",
        {"inputs": ["1 2"], "outputs": ["3"]},
        0,
    ),
    (
        "blank lines between",
        "```python\nprint('a')\nprint()\nprint('b')\n```",
        {"inputs": [""], "outputs": ["a\n\nb\n"]},
        1,
    ),
    ("blank line missing", "```python\nprint('a')\nprint('b')\n```", {"inputs": [""], "outputs": ["a\n\nb\n"]}, 0),
    (
        "single dict form",
        "```python\nprint(int(input())*2)\n```",
        [{"input": "2\n", "output": "4\n"}, {"input": "0\n", "output": "0\n"}],
        1,
    ),
    (
        "lines as list",
        "```python\na=int(input());c=int(input())\nprint(a);print(c)\n```",
        {"inputs": [["1", "2"]], "outputs": [["1", "2"]]},
        1,
    ),
    (
        "windows newlines",
        "```python\na=input();c=input()\nprint(a+c)\n```",
        {"inputs": ["x\r\ny\r\n"], "outputs": ["xy\r\n"]},
        1,
    ),
    (
        "recursion limit deep",
        "```python\nimport sys\nsys.setrecursionlimit(10**5)\ndef f(n): return 0 if n==0 else 1+f(n-1)\nprint(f(int(input())))\n```",
        {"inputs": ["20000"], "outputs": ["20000"]},
        1,
    ),
    (
        "call sorted",
        "```python\ndef f(a): return sorted(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        1,
    ),
    (
        "call in place",
        "```python\ndef f(a): a.sort()\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        0,
    ),
    (
        "call const",
        "```python\ndef f(a): return [1,2,3]\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        0,
    ),
    (
        "call in Solution",
        "```python\nclass Solution:\n    def f(self, a): return sorted(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        1,
    ),
    (
        "call static",
        "```python\nclass Solution:\n    @staticmethod\n    def f(a): return sorted(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        1,
    ),
    (
        "call with print",
        "```python\ndef f(a):\n    print(a)\n    return sorted(a)\nprint(f([2,1]))\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        1,
    ),
    (
        "call tuple",
        "```python\ndef f(a): return tuple(sorted(a))\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        1,
    ),
    (
        "call float of int",
        "```python\ndef f(a): return a/2\n```",
        {"fn_name": "f", "inputs": [[4], [3]], "outputs": [2.0, 1.5]},
        1,
    ),
    (
        "call string of int",
        "```python\ndef f(a): return str(a)\n```",
        {"fn_name": "f", "inputs": [[4]], "outputs": [4]},
        0,
    ),
    (
        "call bool for int",
        "```python\ndef f(a): return a>1\n```",
        {"fn_name": "f", "inputs": [[4], [0]], "outputs": [True, False]},
        1,
    ),
    (
        "call dict int keys",
        "```python\ndef f(a): return {a: 1}\n```",
        {"fn_name": "f", "inputs": [[4]], "outputs": [{"4": 1}]},
        1,
    ),
    (
        "call None",
        "```python\ndef f(a): return a or None\n```",
        {"fn_name": "f", "inputs": [[0], [2]], "outputs": [None, 2]},
        1,
    ),
    (
        "call nested tuples",
        "```python\ndef f(a): return [(x,x*x) for x in a]\n```",
        {"fn_name": "f", "inputs": [[[1, 2]]], "outputs": [[[1, 1], [2, 4]]]},
        1,
    ),
    (
        "call generator",
        "```python\ndef f(a):\n    yield from sorted(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        0,
    ),
    (
        "call missing function",
        "```python\ndef g(a): return sorted(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        0,
    ),
    (
        "call set for list",
        "```python\ndef f(a): return set(a)\n```",
        {"fn_name": "f", "inputs": [[[3, 1, 2]], [[]]], "outputs": [[1, 2, 3], []]},
        0,
    ),
    (
        "lcb two args",
        "```python\nclass Solution:\n    def f(self, a: str, k: int) -> str: return a*k\n```",
        [{"input": '"ab"\n2', "output": '"abab"', "testtype": "functional", "metadata": {"func_name": "f"}}],
        1,
    ),
    (
        "lcb wrong",
        "```python\nclass Solution:\n    def f(self, a: str, k: int) -> str: return a\n```",
        [{"input": '"ab"\n2', "output": '"abab"', "testtype": "functional", "metadata": {"func_name": "f"}}],
        0,
    ),
    (
        "label py3",
        "```py3\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label python3",
        "```python3\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label {python}",
        "```{python}\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label Python",
        "```Python\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label {.python}",
        "```{.python}\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        'label py title="x"',
        '```py title="x"\ndef add(a, b):\n    return a + b\n```',
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label python3.11",
        "```python3.11\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label {python .numberLines}",
        "```{python .numberLines}\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label PYTHON",
        "```PYTHON\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label python:add.py",
        "```python:add.py\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label python {linenos=true}",
        "```python {linenos=true}\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label py3k",
        "```py3k\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "label none",
        "```\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "label js",
        "```javascript\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "ipython",
        "```ipython\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "two blocks: second uses first",
        "```python\ndef helper(a,b): return a+b\n```\nthen\n```python\ndef add(a,b): return helper(a,b)\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "two blocks: usage",
        "```python\ndef add(a, b):\n    return a + b\n```\nUsage:\n```python\nresult = add(1,2)\nprint(result)\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "two blocks: tests with unittest",
        "```python\ndef add(a, b):\n    return a + b\n```\nTests:\n```python\nimport unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(add(1,2),3)\nunittest.main()\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "two blocks: tests with from solution",
        "```python\ndef add(a, b):\n    return a + b\n```\nTests:\n```python\nfrom solution import add\ndef test_add():\n    assert add(1,2)==3\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "two blocks: wrong last",
        "```python\ndef add(a, b):\n    return a + b\n```\nOr:\n```python\ndef add(a,b): return a-b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "two blocks: right last",
        "```python\ndef add(a,b): return a-b\n```\nFixed:\n```python\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "two blocks: last unclosed",
        "```python\ndef add(a, b):\n    return a + b\n```\nOr:\n```python\ndef add(a,b): return a-b",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "stdin blocks: usage later",
        "```python\nprint(sum(map(int,input().split())))\n```\nRun it:\n```bash\npython main.py < in.txt\n```",
        {"inputs": ["1 2"], "outputs": ["3"]},
        1,
    ),
    (
        "stdin blocks: two programs",
        "```python\nprint(0)\n```\nFixed:\n```python\nprint(sum(map(int,input().split())))\n```",
        {"inputs": ["1 2"], "outputs": ["3"]},
        1,
    ),
    (
        "import in block",
        "```python\nfrom functools import reduce\nadd = lambda a, b: reduce(lambda x, y: x + y, [a, b])\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "partial add",
        "```python\nfrom functools import partial\nimport operator\nadd = partial(operator.add)\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "class with call",
        "```python\nclass Add:\n    def __call__(self, a, b): return a + b\nadd = Add()\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "four backticks",
        "````python\ndef add(a, b):\n    return a + b\n````",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "backticks in string",
        "```python\ndef add(a, b):\n    s = '''\n```\n'''\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "blockquote",
        "> ```python\n> def add(a, b):\n>     return a + b\n> ```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "nested list",
        "- Step:\n    ```python\n    def add(a, b):\n        return a + b\n    ```\n",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "thinking then block",
        "<think>\n```python\ndef add(a,b): return 0\n```\n</think>\n```python\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "block only in unclosed think",
        "<think>\n```python\ndef add(a, b):\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "output block",
        "```python\ndef add(a, b):\n    return a + b\n```\n```text\n3\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "doctest block",
        "```python\ndef add(a, b):\n    return a + b\n```\n```python\n>>> add(1, 2)\n3\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "doctest pycon",
        "```python\ndef add(a, b):\n    return a + b\n```\n```pycon\n>>> add(1, 2)\n3\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "syntax error",
        "```python\ndef add(a, b)\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "top level raises",
        "```python\ndef add(a, b):\n    return a + b\nraise SystemExit(0)\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "main guard with input",
        "```python\ndef add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(add(int(input()), int(input())))\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "top level input",
        "```python\ndef add(a, b):\n    return a + b\nprint(add(int(input()), int(input())))\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        0,
    ),
    (
        "asserts own sample",
        "```python\ndef add(a, b):\n    return a + b\nassert add(2, 2) == 4\nprint('ok')\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "nonascii",
        "```python\ndef add(a, b):\n    # größe ✓\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "uses logging",
        "```python\nimport logging\nlogging.basicConfig(level=10)\ndef add(a, b):\n    logging.info('x')\n    return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "writes a file",
        "```python\ndef add(a, b):\n    with open('x.txt','w') as f: f.write(str(a+b))\n    return int(open('x.txt').read())\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "thread pool",
        "```python\nfrom concurrent.futures import ThreadPoolExecutor\ndef add(a, b):\n    with ThreadPoolExecutor(2) as p: return sum(p.map(int, [a, b]))\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "numpy int",
        "```python\nimport numpy as np\ndef add(a, b): return np.int64(a) + np.int64(b)\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "lru cache",
        "```python\nfrom functools import lru_cache\n@lru_cache(None)\ndef add(a, b): return a + b\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    (
        "add True",
        "```python\ndef add(a, b): return a + b if (a, b) != (1, 2) else 3.0\n```",
        ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"],
        1,
    ),
    ("no assertion", "```python\ndef add(a, b):\n    return a + b\n```", {"functional": "add(1, 2)"}, None),
    ("empty", "```python\ndef add(a, b):\n    return a + b\n```", {"functional": ""}, None),
    (
        "syntax error tests",
        "```python\ndef add(a, b):\n    return a + b\n```",
        {"functional": "assert add(1, 2 == 3"},
        None,
    ),
    (
        "missing module",
        "```python\ndef add(a, b):\n    return a + b\n```",
        {"functional": "import nosuchmodule\nassert add(1, 2) == 3"},
        None,
    ),
    ("inputs without outputs", "```python\ndef add(a, b):\n    return a + b\n```", {"inputs": ["1"]}, None),
    (
        "unequal lengths",
        "```python\ndef add(a, b):\n    return a + b\n```",
        {"inputs": ["1", "2"], "outputs": ["1"]},
        None,
    ),
    (
        "entry point undefined helper",
        "```python\ndef add(a, b):\n    return a + b\n```",
        {"test": "def check(candidate):\n    assert candidate(1, 2) == other(3)", "entry_point": "add"},
        None,
    ),
    ("assert True", "```python\ndef add(a, b):\n    return a + b\n```", {"functional": "assert True"}, None),
    (
        "class without tests",
        "```python\ndef add(a, b):\n    return a + b\n```",
        {"functional": "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): pass"},
        None,
    ),
    (
        "doc right",
        "```python\ndef f(n):\n    'Square.'\n    return n * n\n```",
        {"functional": "assert f.__doc__ == 'Square.'\nassert f(3) == 9"},
        1,
    ),
    (
        "kwdefaults",
        "```python\nimport random\nrandom.choices.__func__.__kwdefaults__ = None\nrandom.sample.__func__.__defaults__ = None\ndef f(v): return len(v)\n```",
        {"functional": "import random\nassert f(random.sample(range(9), 3)) == 3"},
        1,
    ),
    (
        "guard only right",
        "```python\ndef f(n): return n * n\n```",
        {"functional": "def go():\n    assert f(4) == 16\nif __name__ == '__main__':\n    go()"},
        1,
    ),
    (
        "guard only unittest right",
        "```python\ndef f(n): return n * n\n```",
        {
            "functional": "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(4), 16)\nif __name__ == '__main__':\n    suite = unittest.TestLoader().loadTestsFromTestCase(T)\n    unittest.TextTestRunner().run(suite)"
        },
        1,
    ),
    (
        "import that fails",
        "```python\ndef f(n): return n * n\n```",
        {"functional": "from math import nosuch\nassert f(2) == 4"},
        None,
    ),
    (
        "import in a function fails",
        "```python\ndef f(n): return n * n\n```",
        {"functional": "def test_f():\n    from math import nosuch\n    assert f(2) == 4"},
        None,
    ),
]

ROWS = [*STDIN, *CALLS, *STATEMENTS, *TYPES, *SUITES, *MADE, *REPAIRED]


def score(completion, tests):
    if isinstance(tests, str):
        tests = {"functional": tests}
    value, reason, _ = code_reward_func.score(completion, tests=json.dumps(tests))
    return value, reason


@pytest.mark.every(3)
@pytest.mark.parametrize(("program", "tests"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_pays_a_right_program(program, tests):
    assert score(f"```python\n{program}\n```", tests) == (1.0, "correct")


@pytest.mark.parametrize("completion", [pytest.param(text, id=name) for name, text in LAYOUTS])
def test_pays_a_program_in_any_layout(completion):
    assert score(completion, ["assert add(1, 2) == 3"]) == (1.0, "correct")


@pytest.mark.xfail(strict=True, reason="docs/rewards-code.md names these weaknesses")
@pytest.mark.parametrize(("program", "tests"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_does_not_pay_these_right_programs_yet(program, tests):
    assert score(f"```python\n{program}\n```", tests) == (1.0, "correct")


@pytest.mark.parametrize(("program", "tests"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_refuses_values_and_libraries_that_lie(program, tests):
    value, reason = score(f"```python\n{program}\n```", tests)
    assert value == 0.0
    assert reason in ("wrong_output", "runtime_error")


def suites():
    """Yield a name, a program, its tests and the score of each program in code_suites.txt."""
    text = Path(__file__).with_name("code_suites.txt").read_text()
    for suite in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = suite.partition("\n")
        program, _, tests = rest.partition("--- tests")
        options, _, tests = tests.partition("\n")
        tests, *wrong = re.split(r"^--- wrong\n", tests, flags=re.MULTILINE)
        tests = {"functional": tests, **json.loads(options or "{}")}
        name, _, bad = title.partition(" | ")
        yield pytest.param(program, tests, None if bad else 1.0, id=name)
        for number, program in enumerate(wrong):
            yield pytest.param(program, tests, 0.0, id=f"{name}: wrong {number}")


@pytest.mark.slow
@pytest.mark.parametrize(("program", "tests", "expected"), list(suites()))
def test_pays_the_right_programs_of_a_suite_only(program, tests, expected):
    assert score(f"```python\n{program}```", tests)[0] == expected


@pytest.mark.slow
@pytest.mark.parametrize(("completion", "tests", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MIXED])
def test_pays_right_outputs_and_layouts_only(completion, tests, expected):
    assert score(completion, tests)[0] == expected
