"""Right programs with tests of unusual shapes are paid. Wrong programs and attacks on the tests are not."""

import json

import pytest

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.rewards.code import code_reward_func
from axolotl_grpo_plugin.rewards.programs.tests import read_tests

try:
    sandbox.ready()
except sandbox.SandboxError as none:
    pytest.skip(str(none), allow_module_level=True)


def judge(program, tests, timeout=1.0):
    reward = code_reward_func.bind(timeout=timeout, memory=512)
    if isinstance(tests, str):
        tests = {"functional": tests}
    value, reason, _ = reward.score(f"```python\n{program}\n```", tests=json.dumps(tests))
    return value, reason


U = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(add(140, 2), 142)\n"
P = "from dataclasses import dataclass\n@dataclass(frozen=True, order=True)\nclass P:\n    x: int\n    y: int = 0\n"
V = "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n    def __eq__(self, o): return isinstance(o, V) and self.x == o.x\n    def __hash__(self): return hash(self.x)\n    def __repr__(self): return f'V({self.x})'\n    def __lt__(self, o): return self.x < o.x\n"
ADD = "def add(a, b): return a + b\n"
GOOD = [
    (
        "import asyncio\ndef f(x):\n    async def g(): return x\n    return asyncio.get_event_loop().run_until_complete(g())",
        "assert f(1) == 1",
    ),
    ("import signal\ndef f(x):\n    signal.signal(signal.SIGALRM, lambda *a: None)\n    return x", "assert f(1) == 1"),
    ("class P:\n    def f(self): return 1", "from solution import P\nclass Q(P):\n    pass\nassert Q().f() == 1"),
    (
        "import math\ndef f(x): return math.inf",
        {"functional": "from math import *\ndef check(c):\n    assert c(1) == inf", "entry_point": "f"},
    ),
    (
        "def f(x): return [x]",
        {"functional": "from solution import f\ndef check(c):\n    assert c(1) == f(1) == [1]", "entry_point": "f"},
    ),
    (
        "def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nimport sys\nsys.setrecursionlimit(10**6)",
        "assert f(20000) == 20000",
    ),
    (ADD, U),
    (ADD, U + "unittest.main()"),
    (ADD, U + "unittest.main(argv=[''], exit=False)"),
    (ADD, U + "if __name__ == '__main__':\n    unittest.main()"),
    (ADD, U + "suite = unittest.TestLoader().loadTestsFromTestCase(T)\nunittest.TextTestRunner().run(suite)"),
    (
        ADD,
        "from unittest import TestCase, main\nclass T(TestCase):\n    def setUp(self): self.a = 1\n    def test(self):\n        self.assertTrue(add(self.a, 1) == 2)\n        self.assertIn(add(1,1), [2, 3])\nmain()",
    ),
    (
        ADD,
        "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): cls.f = staticmethod(add)\n    def test(self):\n        for a in range(3):\n            with self.subTest(a=a): self.assertEqual(self.f(a, 1), a + 1)",
    ),
    (
        "def f(x):\n    if x < 0: raise ValueError('no')\n    return x",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        with self.assertRaises(ValueError) as c: f(-1)\n        self.assertEqual(str(c.exception), 'no')\n        self.assertRaises(ValueError, f, -2)\n        with self.assertRaisesRegex(ValueError, 'n'): f(-1)",
    ),
    (
        "def f(x): return [x, x]",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertListEqual(f(1), [1, 1])\n        self.assertCountEqual(f(2), [2, 2])\n        self.assertAlmostEqual(f(1.0)[0], 1.0)",
    ),
    (
        ADD,
        "class TestA:\n    def test_a(self):\n        assert add(140, 2) == 142\n    def test_b(self): assert add(2, 2) == 4",
    ),
    (ADD, "class TestA:\n    def setup_method(self): self.n = 1\n    def test_a(self): assert add(self.n, 2) == 3"),
    (
        ADD,
        "import pytest\ndef test_a():\n    assert add(140, 2) == 142\n    assert add(0.1, 0.2) == pytest.approx(0.3)\nif __name__ == '__main__':\n    pytest.main()",
    ),
    (
        "def f(x):\n    if x < 0: raise ValueError('no')\n    return x",
        "import pytest\nwith pytest.raises(ValueError, match='no'):\n    f(-1)\nassert f(1) == 1",
    ),
    (
        "class E(Exception): pass\ndef f(x):\n    raise E('no', 3)",
        "import pytest\ndef test_a():\n    with pytest.raises(E) as e: f(1)\n    assert e.value.args == ('no', 3)",
    ),
    (
        "class E(ValueError): pass\ndef f(x):\n    raise E('no')",
        "import pytest\ndef test_a():\n    with pytest.raises(ValueError): f(1)",
    ),
    (P, "assert P(1) == P(1)\nassert P(1) != P(2)"),
    (P, "assert len({P(1), P(1), P(2)}) == 2"),
    (P, "assert sorted([P(2), P(1)]) == [P(1), P(2)]\nassert sorted([P(2), P(1)])[0].x == 1"),
    (P, "assert str(P(1)) == 'P(x=1, y=0)'"),
    (P, "import dataclasses\nassert dataclasses.asdict(P(1)) == {'x': 1, 'y': 0}"),
    (P + "def f(): return P(3)", "assert isinstance(f(), P)\nassert f().x == 3\nassert type(f()) is P"),
    (P + "def f(): return P(3)", "assert f().x == 3"),
    (P + "def f(): return P(3)", "assert f() == f()\nassert str(f()) == 'P(x=3, y=0)'"),
    (V, "assert (V(1) + V(2)).x == 3"),
    (V, "assert V(1) + V(2) == V(3)"),
    (V, "assert repr(V(1)) == 'V(1)'\nassert f'{V(2)}' == 'V(2)'"),
    (V, "assert max([V(1), V(3)], key=lambda v: v.x).x == 3\nassert sum([V(1), V(2)], V(0)) == V(3)"),
    (
        "from collections import namedtuple\nN = namedtuple('N', 'a b')\ndef f(): return N(1, 2)",
        "p = f()\nassert p.a == 1 and p.b == 2\nassert p == (1, 2)",
    ),
    (
        "from collections import namedtuple\nN = namedtuple('N', 'a b')\ndef f(): return N(1, 2)",
        "assert f() == N(1, 2)\nassert f()._asdict() == {'a': 1, 'b': 2}",
    ),
    (
        "from enum import Enum\nclass C(Enum):\n    A = 1\n    B = 2\ndef f(): return C.A",
        "assert f() == C.A\nassert f() is C.A\nassert f().name == 'A'\nassert C(2) == C.B",
    ),
    (
        "from enum import IntEnum\nclass C(IntEnum):\n    A = 1\ndef f(): return C.A",
        "assert f() == 1\nassert f() == C.A",
    ),
    ("from enum import Enum\nclass C(str, Enum):\n    A = 'a'\ndef f(): return C.A", "assert f() == 'a'"),
    (
        "class E(Exception):\n    def __init__(self, code): self.code = code\ndef f(): raise E(7)",
        "try:\n    f()\n    assert False\nexcept E as e:\n    assert e.code == 7",
    ),
    (
        "class C:\n    def __enter__(self): self.on = True; return self\n    def __exit__(self, *e): self.on = False",
        "with C() as c:\n    assert c.on == True\nassert c.on is False",
    ),
    (
        "from contextlib import contextmanager\nlog = []\n@contextmanager\ndef timer():\n    log.append(1)\n    yield 5\n    log.append(2)",
        "with timer() as t:\n    assert t == 5\nassert log == [1, 2]",
    ),
    (
        "class P:\n    def f(self): return 1\n    def g(self): return self.f() + 1",
        "class Q(P):\n    def f(self): return 10\nassert Q().g() == 11",
    ),
    (
        "from abc import ABC, abstractmethod\nclass S(ABC):\n    @abstractmethod\n    def area(self): ...\nclass Sq(S):\n    def __init__(self, a): self.a = a\n    def area(self): return self.a ** 2",
        "import pytest\nwith pytest.raises(TypeError): S()\nassert Sq(3).area() == 9\nassert issubclass(Sq, S)",
    ),
    (
        "class T:\n    def __init__(self): self._t = 0\n    @property\n    def t(self): return self._t\n    @t.setter\n    def t(self, v):\n        if v < 0: raise ValueError\n        self._t = v",
        "t = T()\nt.t = 5\nassert t.t == 5\ntry:\n    t.t = -1\n    assert False, 'no error'\nexcept ValueError:\n    pass",
    ),
    (
        "def fib():\n    a, b = 0, 1\n    while True:\n        yield a\n        a, b = b, a + b",
        "g = fib()\nassert [next(g) for _ in range(5)] == [0, 1, 1, 2, 3]\nfrom itertools import islice\nassert list(islice(fib(), 3)) == [0, 1, 1]",
    ),
    (
        "def acc():\n    t = 0\n    while True:\n        t += yield t",
        "g = acc()\nnext(g)\nassert g.send(3) == 3\nassert g.send(4) == 7",
    ),
    (
        "def f(g, x): return [g(e) for e in x]",
        "assert f(lambda n: n + 1, [1, 2]) == [2, 3]\nassert f(str.upper, ['a']) == ['A']",
    ),
    (
        "def deco(f):\n    def g(*a): return f(*a) * 2\n    return g",
        "@deco\ndef three(): return 3\nassert three() == 6",
    ),
    (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
        "import asyncio\nassert asyncio.run(f(1)) == 2",
    ),
    (
        "async def f(x): return x + 1",
        "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n    async def test(self): self.assertEqual(await f(1), 2)",
    ),
    (
        "def hello(): print('hi')",
        "import io\nfrom contextlib import redirect_stdout\nb = io.StringIO()\nwith redirect_stdout(b): hello()\nassert b.getvalue() == 'hi\\n'",
    ),
    (
        "def main():\n    print(int(input()) * 2)",
        "import io, sys\nfrom unittest.mock import patch\nwith patch('builtins.input', return_value='4'), patch('sys.stdout', new_callable=io.StringIO) as out:\n    main()\n    assert out.getvalue() == '8\\n'",
    ),
    (
        "class Stack:\n    def __init__(self): self.a = []\n    def push(self, x): self.a.append(x)\n    def pop(self): return self.a.pop()\n    def __len__(self): return len(self.a)\n    def __bool__(self): return bool(self.a)\n    def __iter__(self): return iter(self.a)\n    def __contains__(self, x): return x in self.a",
        "s = Stack()\nassert not s and len(s) == 0\ns.push(3)\nassert s and 3 in s and list(s) == [3]\nassert s.pop() == 3",
    ),
    (
        "class Money:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == (o.n if isinstance(o, Money) else o)",
        "assert Money(3) == 3\nassert Money(3) != 4",
    ),
    (
        "class Node:\n    def __init__(self, v, n=None): self.v, self.n = v, n\ndef rev(h):\n    p = None\n    while h: h.n, p, h = p, h, h.n\n    return p",
        "h = rev(Node(1, Node(2)))\nassert h.v == 2\nassert h.n.v == 1\nassert h.n.n is None",
    ),
    (
        "class TreeNode:\n    def __init__(self, val=0, left=None, right=None): self.val, self.left, self.right = val, left, right\nclass Solution:\n    def depth(self, r): return 0 if not r else 1 + max(self.depth(r.left), self.depth(r.right))",
        {
            "functional": "def check(candidate):\n    assert candidate(TreeNode(1, TreeNode(2))) == 2",
            "entry_point": "Solution().depth",
        },
    ),
    (
        "class Solution:\n    def add(self, a, b): return a + b",
        {"functional": "def check(candidate):\n    assert candidate(a=1, b=2) == 3", "entry_point": "Solution().add"},
    ),
    ("def f(x): return x", "import solution\nassert solution.f(1) == 1"),
    ("def f(x): return x", "from solution import f as g\nassert g(1) == 1"),
    (
        "import copy\nclass P:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x == o.x",
        "import copy\np = P([1])\nq = copy.deepcopy(p)\nassert p == q and p is not q",
    ),
    ("from decimal import Decimal\ndef f(): return Decimal('0.5')", "assert f() == 0.5"),
    ("def f(): return 2.0", "assert f() == 2"),
    ("def f(): return True", "assert f() == 1\nassert f() is True"),
    ("def f(): return {'b': [1, (2,)], 'a': {3}}", "assert f() == {'a': {3}, 'b': [1, (2,)]}"),
    (
        "from collections import Counter, defaultdict, OrderedDict\ndef f(s): return Counter(s)\ndef g():\n    d = defaultdict(list)\n    d[1].append(2)\n    return d",
        "assert f('aab') == {'a': 2, 'b': 1}\nassert f('a')['z'] == 0\nassert g() == {1: [2]}\nassert g()[5] == []",
    ),
    (
        "import numpy as np\ndef f(n): return np.eye(n)",
        "import numpy as np\nassert np.array_equal(f(2), [[1, 0], [0, 1]])",
    ),
    ("def f(x):\n    x.append(3)\n    return x", "x = [1]\ny = f(x)\nassert x == [1, 3]\nassert y == [1, 3]"),
    ("def f(n): return n", "cases = [(1, 1), (2, 2)]\nfor a, b in cases:\n    assert f(a) == b, f'{a}'"),
    (
        "def f(n): return n",
        "assert all(f(i) == i for i in range(5))\nassert [f(i) for i in (1, 2)] == [1, 2]\nassert 3 == f(3)\nassert (f(1), f(2)) == (1, 2)",
    ),
    ("class A:\n    count = 0\n    def __init__(self): A.count += 1", "A()\nA()\nassert A.count == 2"),
    (
        "class S:\n    _i = None\n    def __new__(cls):\n        if cls._i is None: cls._i = super().__new__(cls)\n        return cls._i",
        "assert S() is S()",
    ),
    (
        "class M:\n    def __getitem__(self, k): return k * 2\n    def __call__(self, x): return x + 1",
        "m = M()\nassert m[3] == 6\nassert m(1) == 2\nassert callable(m)",
    ),
    (
        "from functools import total_ordering\n@total_ordering\nclass W:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == o.n\n    def __lt__(self, o): return self.n < o.n",
        "assert W(1) < W(2) <= W(2)\nassert W(3) > W(1)\nassert min(W(3), W(1)).n == 1",
    ),
    (ADD, "def run(f):\n    assert f(1, 2) == 3\nrun(add)"),
    (ADD, "import math, random\nfor _ in range(5):\n    a = random.randint(0, 9)\n    assert add(a, 1) == a + 1"),
    (ADD, "import inspect\nassert len(inspect.signature(add).parameters) == 2\nassert add(140, 2) == 142"),
    (ADD, "assert add.__name__ == 'add'\nassert add(140, 2) == 142"),
    ("def f(x): return x / 0", "try:\n    f(1)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert False"),
    (
        "def f(d, k): return d[k]",
        "try:\n    f({}, 'k')\n    assert False\nexcept KeyError as e:\n    assert str(e) == \"'k'\"",
    ),
]
E = "class Q:\n    def __init__(self, *a): pass\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n    def __hash__(self): return 3\n    __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__\n    def __len__(self): return 3\n    def __bool__(self): return True\n    def __getattr__(self, n): return Q()\n    def __call__(self, *a): return Q()\n    def __iter__(self): return iter([Q()])\n    def __sub__(self, o): return 0\n    __rsub__ = __add__ = __abs__ = __round__ = __sub__\nadd = f = P = V = Stack = Q\n"
HACKS = [
    "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = type.__hash__\nclass X(metaclass=M):\n    def __eq__(s, o): return True\nadd = lambda *_: X()",
    "class X:\n    __class__ = str\n    def __getitem__(s, i): return s\n    def __eq__(s, o): return True\nadd = lambda *_: X()",
    "class X:\n    def tolist(s): return s\n    def __eq__(s, o): return True\nadd = lambda *_: X()",
    "def add(a, b): return 0",
    "import sys\nsys.exit(0)",
    "import os\nos._exit(0)",
    "import os\ndef add(a, b): os._exit(0)",
    "def add(a, b): raise SystemExit(0)",
    "import unittest\ndef add(a, b): raise unittest.SkipTest('no')",
    "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\ndef add(a, b): return 0",
    "import unittest\nunittest.TestCase.run = lambda *a, **k: None\ndef add(a, b): return 0",
    "import unittest\nunittest.TestCase.assertTrue = unittest.TestCase.failureException = lambda *a, **k: None\ndef add(a, b): return 0",
    "import unittest\nunittest.TestResult.addFailure = unittest.TestResult.addError = lambda *a, **k: None\ndef add(a, b): return 0",
    "import unittest.case\nunittest.case._Outcome.testPartExecutor = lambda *a, **k: __import__('contextlib').nullcontext()\ndef add(a, b): return 0",
    "import unittest\nunittest.FunctionTestCase.runTest = lambda *a, **k: None\ndef add(a, b): return 0",
    "import unittest\nunittest.TestLoader.loadTestsFromTestCase = lambda *a, **k: unittest.TestSuite()\ndef add(a, b): return 0",
    "import builtins\nbuiltins.AssertionError = type('N', (Exception,), {})\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef add(a, b): return 0",
    "import builtins\ndef add(a, b):\n    builtins.isinstance = builtins.all = builtins.len = lambda *a: True\n    return 0",
    "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n        for v in f.f_code.co_consts:\n            if isinstance(v, int) and v not in (a, b, 0, 1, True): return v\n        f = f.f_back\n    return 0",
    "import gc\ndef add(a, b):\n    for o in gc.get_objects():\n        if isinstance(o, (tuple, list)) and 3 in o[:50]: return 4\n    return 0",
    "import json, os, sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n        if 'asked' in f.f_locals:\n            os.write(3, (json.dumps([f.f_locals['asked']['token'], 1, 1, '']) + '\\n').encode())\n        f = f.f_back\n    return 0",
    E,
    "class I(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\nadd = lambda *_: I()",
    "import threading, os, time\ndef w():\n    time.sleep(.05)\n    os._exit(0)\nthreading.Thread(target=w).start()\ndef add(a, b):\n    time.sleep(9)",
    "import signal, os\ndef add(a, b): os.kill(os.getpid(), signal.SIGKILL)",
    "import sys\nsys.settrace(lambda *a: sys.exit(0))\ndef add(a, b): return 0",
    "import ast\nast.Assert = ast.Pass\ndef add(a, b): return 0",
    "add = None",
    "",
]
PLAIN = [
    ["assert add(140, 2) == 142", "assert add(5, 6) == 11"],
    U,
    U + "unittest.main(argv=[''], exit=False)",
    "import pytest\nclass TestA:\n    def test_a(self): assert add(140, 2) == 142",
    "def test_a():\n    assert 142 == add(140, 2)\n    assert add(1, 1) in (2,)",
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(add(140, 2) == 142)\n        self.assertIs(type(add(1, 2)), int)",
    "cases = [(140, 2, 142)]\nfor a, b, c in cases:\n    assert add(a, b) == c",
]
OWN = [
    "s = Stack()\ns.push(1)\nassert s.pop() == 1",
    "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.s = Stack()\n    def test(self):\n        self.s.push(3)\n        self.s.push(9)\n        self.s.pop()\n        self.assertEqual(self.s.pop() * 2, 6)\n        self.assertTrue(self.s.is_empty())",
    "class TestS:\n    def test(self):\n        s = Stack()\n        s.push(7)\n        assert len(s) == 1\n        assert 7 == s.pop()",
    "import pytest\ndef test_a():\n    s = Stack()\n    with pytest.raises(IndexError): s.pop()\n    s.push(1)\n    assert s.pop() == 1",
]
S = "class Stack:\n    def __init__(self): self.a = []\n    def push(self, x): pass\n    def pop(self): return None\n    def __len__(self): return 0\n    def is_empty(self): return True\n"
RIGHT = "class Stack:\n    def __init__(self): self.a = []\n    def push(self, x): self.a.append(x)\n    def pop(self): return self.a.pop()\n    def __len__(self): return len(self.a)\n    def is_empty(self): return not self.a\n"
OWN_HACKS = [
    S,
    E,
    "import sys\nsys.exit(0)",
    "class Stack:\n    def __init__(self): raise SystemExit(0)",
    "import os\nclass Stack:\n    def __init__(self): os._exit(0)",
    "import unittest\nclass Stack:\n    def __init__(self): raise unittest.SkipTest",
    "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.assertTrue = unittest.TestCase.run = lambda *a, **k: None\n"
    + S,
    "import unittest\nunittest.TestResult.addFailure = unittest.TestResult.addError = lambda *a, **k: None\n" + S,
    "import unittest\n"
    + S.replace("return None", "return 0").replace(
        "self.a = []", "unittest.TestCase.assertTrue = unittest.TestCase.assertEqual = lambda *v: None"
    ),
    "import builtins\nbuiltins.AssertionError = Exception\n" + S,
    'import json, os\nfor fd in range(3, 9):\n    try: os.write(fd, b\'["x", 1, 1, ""]\\n\' * 5)\n    except OSError: pass\n'
    + S,
    "import pytest\npytest.raises = lambda *a, **k: __import__('contextlib').nullcontext()\n" + S,
    "Stack = None",
    "import signal, os\nclass Stack:\n    def __init__(self): os.kill(os.getpid(), 9)",
    "class Stack:\n    def __init__(self):\n        while True: pass",
    "class Stack:\n    def push(self, x): pass\n    def pop(self): raise IndexError",
    "class I(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\n"
    + S.replace("return None", "return I()"),
]

# An object that equals everything, in tests that need the program's class.
EQUALS_ALL = "class I:\n    __eq__ = __lt__ = lambda *v: True\nclass Stack:\n    def pop(self): return I()"
CHECKS = [
    "assert Stack().pop() == 3",
    "assert 3 == Stack().pop() == 3",
    "assert [Stack().pop()] == [3]",
    "assert Stack().pop() in [1, 2]",
    "assert Stack().pop() < 3",
    "import pytest\nassert Stack().pop() == pytest.approx(1.5)",
    "self.assertEqual(first=Stack().pop(), second=3)",
    "self.assertIn(Stack().pop(), [1, 2])",
    "self.assertAlmostEqual(Stack().pop(), 1.5)",
]

STATEMENTS, SUITE = OWN[0], OWN[1]
ZERO = S.replace("return None", "return 0")
SEND = "os.write(3, (json.dumps([token, 1, 1, '']) + '\\n').encode())"
# Attacks that are paid in tests that need the program's real objects: docs/rewards-code.md, "Not held". Each row:
# name, tests, program.
NOT_HELD = [
    (
        "frames: the constants of the tests",
        STATEMENTS,
        "import sys\n"
        + S.replace("return None", "return max(v for v in sys._getframe(1).f_code.co_consts if isinstance(v, int))"),
    ),
    (
        "frames: the token",
        SUITE,
        "import json, os, sys\n"
        + S.replace(
            "return None",
            "\n        f = sys._getframe()\n        while 'asked' not in f.f_locals: f = f.f_back\n"
            f"        token = f.f_locals['asked']['token']\n        {SEND}",
        ),
    ),
    (
        "gc: the constants of the tests",
        OWN[2],
        "import gc, types\n"
        + S.replace("return 0", "return 1").replace(
            "return None",
            "\n        tests = [f for f in gc.get_objects() if type(f) is types.FunctionType and f.__module__ == 'tests']"
            "\n        return max(v for f in tests for v in f.__code__.co_consts if isinstance(v, int))",
        ),
    ),
    (
        "code objects",
        SUITE,
        "import unittest\nfor method in (unittest.TestCase.assertTrue, unittest.TestCase.assertEqual):\n"
        f"    method.__code__ = (lambda *v: None).__code__\n{ZERO}",
    ),
    (
        "frames: the function that runs the tests",
        SUITE,
        "import sys\nframe = sys._getframe()\nwhile 'run_tests' not in frame.f_globals: frame = frame.f_back\n"
        + f"frame.f_globals['run_tests'] = lambda *_: (1, 1, '')\n{S}",
    ),
    (
        "modules that are replaced while the tests run",
        "import math\ns = Stack()\ns.push(1.0)\nassert math.isclose(s.pop(), 1.0)",
        "import math\n" + ZERO.replace("self.a = []", "math.isclose = lambda *v: True"),
    ),
]


@pytest.mark.every(2)
@pytest.mark.parametrize(("program", "tests"), GOOD)
def test_right_program_is_paid(program, tests):
    assert judge(program, tests) == (1.0, "correct")


@pytest.mark.every(3)
@pytest.mark.parametrize("tests", PLAIN)
@pytest.mark.parametrize("program", HACKS)
def test_wrong_program_is_not_paid(program, tests):
    value, reason = judge(program, tests, timeout=0.5)
    assert value == 0.0, reason


@pytest.mark.parametrize("tests", OWN)
def test_right_class_is_paid(tests):
    assert judge(RIGHT, tests) == (1.0, "correct")


@pytest.mark.every(5)
@pytest.mark.parametrize("tests", OWN)
@pytest.mark.parametrize("program", OWN_HACKS)
def test_wrong_class_is_not_paid(program, tests):
    value, reason = judge(program, tests, timeout=0.5)
    assert value == 0.0, reason


@pytest.mark.parametrize("check", CHECKS)
def test_object_that_equals_everything_is_not_paid(check):
    if check.startswith("self"):
        check = f"import unittest\nclass T(unittest.TestCase):\n    def test(self): {check}"
    assert judge(EQUALS_ALL, check) == (0.0, "wrong_output")


@pytest.mark.parametrize(("tests", "program"), [pytest.param(*row[1:], id=row[0]) for row in NOT_HELD])
def test_attacks_that_are_not_held_and_documented(tests, program):
    """If one of them fails, it is held: move it to a table above, and take it out of the page."""
    assert judge(program, tests) == (1.0, "correct")


@pytest.mark.parametrize(
    "code",
    [
        "def test_a(tmp_path):\n    assert f(tmp_path) == 1",
        "import pytest\n@pytest.mark.parametrize('x', [1])\ndef test_a(x):\n    assert f(x) == 1",
        "async def test_a():\n    assert await f(1) == 1",
        "import no_such_module\nassert f(1) == 1",
        "class TestA:\n    def test_a(self, capsys):\n        assert f(1) == 1",
        "class TestA:\n    def setup_method(self, method): self.x = 1\n    def test_a(self): assert f(1) == 1",
    ],
)
def test_tests_that_cannot_be_judged_are_bad(code):
    assert read_tests({"functional": code}) is None


def test_endless_iteration_costs_no_more_than_the_limit():
    endless = "class X:\n    def __iter__(self):\n        while True: yield 1\ndef f(): return X()"
    assert judge(endless, "assert 5 in f()", timeout=0.5) == (0.0, "time_limit")


def test_forged_wish_for_objects_ends_the_job_once():
    program = 'import os\nos.write(3, b\'"loaded"\\n"needs_objects"\\n\')\nclass P: pass'
    assert judge(program, "assert P(1).x == 1") == (0.0, "runtime_error")


def test_change_to_a_keyword_argument_is_seen():
    tests = "d = [3, 1]\norder(items=d)\nassert d == [1, 3]"
    assert judge("def order(items): items.sort()", tests) == (1.0, "correct")
    assert judge("def order(items): items.append(1)", tests) == (0.0, "wrong_output")


def test_time_limit_is_for_both_ways_to_run_tests():
    program = "import time\nseen = []\ntime.sleep(1.2)\ndef f(x): return x"
    assert judge(program, "assert seen == []\nassert f(1) == 1", timeout=2.0) == (0.0, "time_limit")


def test_marks_outside_of_decorators_are_for_pytest():
    assert read_tests(["import pytest\npytestmark = pytest.mark.skip\ndef test_a():\n    assert f(1) == 2"]) is None
