"""Wrong programs that try to be paid. Their writer knew the contract and not the code."""

import json
import textwrap

import pytest

from axolotl_grpo_plugin import sandbox
from axolotl_grpo_plugin.rewards.code import code_reward_func

try:
    sandbox.ready()
except sandbox.SandboxError as none:
    pytest.skip(str(none), allow_module_level=True)

pytestmark = pytest.mark.slow  # test_code.py and test_code_shapes.py have the attacks of each run
REWARD = code_reward_func.bind(timeout=0.9, memory=256)

# Tests. `add` adds two numbers, `f` squares one.
ADD = ["assert add(1, 2) == 3", "assert add(5, 7) == 12"]
CHECK = {
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(5, 7) == 12",
    "entry_point": "add",
}
CALLS = {"fn_name": "add", "inputs": [[1, 2], [5, 7]], "outputs": [3, 12]}
STDIN = {"inputs": ["1 2\n", "5 7\n"], "outputs": ["3\n", "12\n"]}
TOKEN = ["assert token() == 'zebra-8812-quokka'"]
UNITTEST = """
import unittest
class TestAdd(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add(1, 2), 3)
    def test_large(self):
        self.assertEqual(add(5, 7), 12)
"""
RUNNER = UNITTEST + "unittest.main(argv=[''], exit=False)\n"
PLAIN_RUNNER = UNITTEST + "if __name__ == '__main__':\n    unittest.main()\n"
PYTEST = "def test_small():\n    assert add(1, 2) == 3\ndef test_large():\n    assert add(5, 7) == 12\n"
PYTEST_CLASS = "class TestAdd:\n    def test_small(self):\n        assert add(1, 2) == 3\n"
RAISES = "import pytest\ndef test_refuses():\n    with pytest.raises(ValueError):\n        f(-1)\n"
ASSERT_RAISES = """
import unittest
class TestF(unittest.TestCase):
    def test_refuses(self):
        with self.assertRaises(ValueError):
            f(-1)
"""
EXCEPT = """
try:
    f(-1)
except ValueError:
    pass
else:
    raise AssertionError
"""

# An object that agrees with everything.
LIAR = """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __contains__ = __lt__
    def __sub__(self, other): return self
    __rsub__ = __add__ = __radd__ = __mul__ = __mod__ = __getitem__ = __sub__
    def __abs__(self): return self
    def __round__(self, digits=None): return self
    def __bool__(self): return True
    def __hash__(self): return 0
    def __float__(self): return 0.0
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __iter__(self): return iter([self])
def f(*args): return Liar()
add = token = f
"""
LIAR_INT = """
class Liar(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    def __sub__(self, other): return Liar(0)
    __rsub__ = __sub__
    def __abs__(self): return self
    def __round__(self, digits=None): return self
    def __hash__(self): return 9
    def __repr__(self): return '3'
    __str__ = __repr__
    __class__ = int
def f(*args): return Liar(-1)
add = f
"""
ZERO = "def add(a, b): return 0\n"

# Right in Python's eyes only if the object lies: both liars must earn 0.
LIED_TO = [
    ("equal", "assert f(3) == 9"),
    ("equal_reversed", "assert 9 == f(3)"),
    ("chain", "assert f(3) == f(3) == 9"),
    ("both_ends", "assert 8 < f(3) < 10"),
    ("not_unequal", "assert not f(3) != 9"),
    ("if_unequal", "if f(3) != 9:\n    raise AssertionError('wrong')"),
    ("difference", "assert abs(f(3) - 9) < 1e-6"),
    ("difference_reversed", "assert abs(9 - f(3)) <= 1e-6"),
    ("isclose", "import math\nassert math.isclose(f(3), 9.0)"),
    ("round", "assert round(f(3), 2) == 9.0"),
    ("approx", "import pytest\nassert f(3) == pytest.approx(9)"),
    ("operator_eq", "import operator\nassert operator.eq(f(3), 9)"),
    ("in_list", "assert f(3) in [9]"),
    ("in_tuple", "assert f(3) in (9, 10)"),
    ("in_set", "assert f(3) in {9}"),
    ("count", "assert [9].count(f(3)) == 1"),
    ("index", "assert [1, 9].index(f(3)) == 1"),
    ("key", "assert {f(3): 1} == {9: 1}"),
    ("list", "assert [f(2), f(3)] == [4, 9]"),
    ("comprehension", "assert [f(n) for n in range(3)] == [0, 1, 4]"),
    ("map", "assert tuple(map(f, (1, 2))) == (1, 4)"),
    ("all", "assert all(f(n) == n * n for n in range(5))"),
    ("cases", "for n, square in [(2, 4), (3, 9)]:\n    assert f(n) == square"),
    ("variables", "expected = 9\nactual = f(3)\nassert actual == expected, 'wrong'"),
    ("is_true", "assert (f(3) == 9) is True"),
    ("and_type", "assert isinstance(f(3), int) and f(3) == 9"),
    ("match", "match f(3):\n    case 9:\n        pass\n    case _:\n        raise AssertionError"),
    ("helper", "def same(a, b):\n    assert a == b\nsame(f(3), 9)"),
    ("set", "assert set([f(3)]) == {9}"),
    ("sum", "assert sum([f(1), f(2)]) == 5"),
    ("max", "assert max(f(1), f(2)) == 4"),
    ("str", "assert str(f(4)) == '16'"),
    ("format", "assert f'{f(4)}' == '16'"),
    ("nested", "assert {'a': [f(3)]} == {'a': [9]}"),
    (
        "assert_equal",
        "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(f(2), 4)\n",
    ),
    (
        "assert_almost",
        "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n"
        "        self.assertAlmostEqual(f(3), 9.0, places=3)\n",
    ),
    (
        "assert_true",
        "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n"
        "        self.assertTrue(f(3) == 9)\nunittest.main()\n",
    ),
    (
        "assert_in",
        "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertIn(f(3), [9, 10])\n",
    ),
]
LIARS = {"object": LIAR, "int": LIAR_INT}

EXITS = [
    ("sys_exit", "import sys\nsys.exit(0)"),
    ("os_exit", "import os\nos._exit(0)"),
    ("system_exit_in_call", "def add(a, b): raise SystemExit(0)"),
    ("os_exit_in_call", "import os\ndef add(a, b): os._exit(0)"),
    ("exit_thread", "import os, threading\nthreading.Timer(0, os._exit, [0]).start()\n" + ZERO),
    ("atexit", "import atexit, os\natexit.register(os._exit, 0)\n" + ZERO),
    ("skip_test", "import unittest\ndef add(a, b): raise unittest.SkipTest('no')"),
    ("pytest_skip", "import pytest\ndef add(a, b): pytest.skip('no')"),
    ("pytest_exit", "import pytest\ndef add(a, b): pytest.exit('no', returncode=0)"),
    ("pytest_xfail", "import pytest\ndef add(a, b): pytest.xfail('no')"),
    ("interrupt", "def add(a, b): raise KeyboardInterrupt"),
    ("generator_exit", "def add(a, b): raise GeneratorExit"),
    ("stop_iteration", "def add(a, b): raise StopIteration"),
    ("interrupt_main", "import _thread\ndef add(a, b): _thread.interrupt_main()"),
    ("fork", "import os\nif os.fork(): os._exit(0)\n" + ZERO),
    ("kill_parent", "import os\ndef add(a, b): os.kill(os.getppid(), 9)"),
    ("kill_all", "import os\ndef add(a, b):\n    if os.getpid() < 99: os.kill(-1, 9)"),
    ("term_self", "import os, signal\ndef add(a, b): os.kill(os.getpid(), signal.SIGTERM)"),
    ("exec", "import os\ndef add(a, b): os.execv('/bin/true', ['true'])"),
    ("segfault", "import ctypes\ndef add(a, b): ctypes.string_at(0)"),
    ("recursion", "def add(a, b): return add(a, b)"),
    ("setupmodule", "import unittest\ndef setUpModule(): raise unittest.SkipTest('no')\n" + ZERO),
    ("load_tests", "import unittest\ndef load_tests(*args): return unittest.TestSuite()\n" + ZERO),
    ("pytestmark", "import pytest\npytestmark = pytest.mark.skip\n" + ZERO),
    ("skip_flag", "__unittest_skip__ = True\n__test__ = False\n" + ZERO),
    (
        "async_exit",
        """
        import ctypes, threading
        def add(a, b):
            for thread in threading.enumerate():
                if thread is not threading.current_thread():
                    error = ctypes.py_object(SystemExit)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), error)
            return 0
        """,
    ),
]
EXIT_TESTS = [("asserts", ADD), ("check", CHECK), ("calls", CALLS), ("unittest", RUNNER), ("pytest", PYTEST)]

PATCHES = [
    (
        "test_case",
        """
        import unittest
        for name in dir(unittest.TestCase):
            if name.startswith('assert'):
                setattr(unittest.TestCase, name, lambda *args, **kwargs: None)
        """,
    ),
    ("run", "import unittest\nunittest.TestCase.run = lambda self, result=None: result"),
    ("main", "import unittest\nunittest.main = lambda *args, **kwargs: None"),
    (
        "result",
        """
        import unittest
        unittest.TestResult.addFailure = unittest.TestResult.addError = lambda *args: None
        unittest.TestResult.wasSuccessful = lambda self: True
        """,
    ),
    ("failure", "import unittest\nunittest.TestCase.failureException = SystemExit"),
    (
        "modules",
        """
        import sys
        class Fake:
            class TestCase: pass
            def main(*args, **kwargs): pass
        sys.modules['unittest'] = sys.modules['pytest'] = sys.modules['json'] = Fake
        """,
    ),
    (
        "files",
        """
        import sys
        for name in ('unittest', 'pytest', 'json', 'math', 'ast', 'conftest', 'sitecustomize'):
            open(name + '.py', 'w').write('class TestCase: pass\\ndef main(*a, **k): pass')
        sys.path.insert(0, '.')
        """,
    ),
    ("error", "import builtins\nbuiltins.AssertionError = SystemExit"),
    ("exec", "import builtins\nbuiltins.exec = builtins.eval = builtins.compile = print"),
    ("repr", "import builtins\nbuiltins.repr = builtins.str = lambda *args: '3'"),
    ("json", "import json\njson.dumps = lambda *args, **kwargs: '3'"),
    ("import", "import builtins\nbuiltins.__import__ = lambda *args: None"),
    ("ast", "import ast\nast.parse = lambda *args, **kwargs: ast.Module([], [])"),
    ("literal", "import ast\nast.literal_eval = lambda text: 3"),
    ("class", "import builtins\nbuiltins.__build_class__ = lambda *args: object"),
    ("excepthook", "import sys, os\nsys.excepthook = lambda *args: os._exit(0)"),
    ("optimize", "import sys\nsys.flags.__class__.optimize = 2"),
    ("trace", "import sys, threading\nthreading.settrace(print)\nsys.settrace(print)"),
    (
        "globals",
        """
        import __main__, sys, threading
        def replace():
            while True:
                for module in list(sys.modules.values()):
                    for name in ('check', 'TestAdd', 'test_small', 'test_large'):
                        if name in vars(module): setattr(module, name, lambda *args: None)
        threading.Thread(target=replace, daemon=True).start()
        """,
    ),
    ("check", "def check(candidate): pass\nclass TestAdd: pass\ndef test_small(): pass"),
    ("builtins", "__builtins__ = {}"),
    ("finder", "import sys\nsys.meta_path.clear()\nsys.path.clear()\nsys.modules.clear()"),
]
PATCHES = [(name, f"{textwrap.dedent(patch)}\n{ZERO}") for name, patch in PATCHES]
PATCH_TESTS = [
    ("asserts", ADD),
    ("check", CHECK),
    ("unittest", UNITTEST),
    ("runner", RUNNER),
    ("plain_runner", PLAIN_RUNNER),
    ("pytest_class", PYTEST_CLASS),
]

# Tests of other kinds, and programs that attack them.
SUBTEST = "import unittest\nclass TestAdd(unittest.TestCase):\n    def setUp(self):\n        self.pairs = [(1, 2, 3), (5, 7, 12)]\n    def test_pairs(self):\n        for a, b, c in self.pairs:\n            with self.subTest(a=a):\n                self.assertEqual(add(a, b), c)\n"
APPROX = "import pytest\nclass TestAdd:\n    def test_small(self):\n        assert add(1, 2) == 3\n    def test_float(self):\n        assert add(0.1, 0.2) == pytest.approx(0.3)\n    def test_bad(self):\n        with pytest.raises(TypeError):\n            add(1, 'x')\n"
OWN = "p = P(1)\nassert p + P(2) == P(3)\nassert p != P(2)\nassert isinstance(p, P)\nassert (p + P(4)).x == 5"
MORE = [
    (
        "exit in module getattr",
        "def __getattr__(name): raise SystemExit(0)\n\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "exit in del",
        "class A:\n    def __del__(self):\n        import os; os._exit(0)\na = A()\ndel a\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    ("quit in function", "def add(a, b): quit()", [ADD, SUBTEST, APPROX]),
    ("exit group via ctypes", "import ctypes\ndef add(a,b): ctypes.CDLL(None)._exit(0)", [ADD, SUBTEST, APPROX]),
    (
        "sigalrm exit",
        "import signal, os\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\ndef add(a,b):\n    import time; time.sleep(.2); return 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "sigalrm exit in the tests",
        "import signal, os\nsignal.signal(signal.SIGVTALRM, lambda *a: os._exit(0))\nsignal.setitimer(signal.ITIMER_VIRTUAL, 0.01)\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "patched assertEqual family",
        "import unittest\nfor n in dir(unittest.TestCase):\n    if n.startswith('assert') or n in ('fail', '_baseAssertEqual', '_getAssertEqualityFunc', 'addTypeEqualityFunc', 'subTest'):\n        setattr(unittest.TestCase, n, lambda self, *a, **k: None)\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "case module patched",
        "import unittest.case as c\nclass O:\n    def __init__(s, *a): s.success=True; s.errors=[]; s.expectedFailure=None; s.expecting_failure=False\n    from contextlib import contextmanager\n    @contextmanager\n    def testPartExecutor(self, *a, **k):\n        yield\nc._Outcome = O\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "metaclass of TestCase",
        "import unittest\nunittest.TestCase.__init_subclass__ = classmethod(lambda cls, **k: [setattr(cls, n, lambda self: None) for n in list(vars(cls)) if n.startswith('test')])\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "getTestCaseNames",
        "import unittest\nunittest.TestLoader.getTestCaseNames = lambda self, cls: []\nunittest.loader.TestLoader.loadTestsFromTestCase = lambda self, c: unittest.TestSuite()\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "subTest swallows",
        "import unittest, contextlib\nunittest.TestCase.subTest = lambda self, *a, **k: contextlib.suppress(BaseException)\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "setUp empty list",
        "import unittest\nunittest.TestCase.__setattr__ = lambda self, n, v: object.__setattr__(self, n, [] if n == 'pairs' else v)\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "patched pytest approx",
        "import pytest, _pytest.python_api as p\nclass E:\n    def __init__(self,*a,**k): pass\n    def __eq__(self,o): return True\npytest.approx = p.approx = E\ndef add(a,b):\n    if b=='x': raise TypeError\n    return 3",
        [APPROX],
    ),
    (
        "pytest raises suppresses",
        "import pytest, contextlib\npytest.raises = lambda *a, **k: contextlib.suppress(BaseException)\ndef add(a,b):\n    return 3 if a == 1 else 0.3",
        [APPROX],
    ),
    ("always TypeError", "def add(a,b): raise TypeError", [APPROX]),
    (
        "eq str subclass",
        "class S(str):\n    def __eq__(self,o): return True\n    def __ne__(self,o): return False\n    __hash__ = str.__hash__\ndef add(a,b): return S('x')",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "float subclass",
        "class F(float):\n    def __eq__(self,o): return True\n    def __rsub__(self,o): return 0\n    def __sub__(self,o): return 0\n    def __abs__(self): return 0\n    __hash__ = float.__hash__\ndef add(a,b): return F(7)",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "tuple subclass",
        "class T(tuple):\n    def __eq__(self,o): return True\ndef add(a,b): return T()",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "patched int.__eq__ by ctypes",
        "import ctypes\nclass O(ctypes.Structure): pass\ndef add(a,b):\n    try:\n        ctypes.memmove(id(3)+24, id(0)+24, 4); ctypes.memmove(id(12)+24, id(0)+24, 4)\n    except Exception: pass\n    return 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "frames",
        "import sys\ndef add(a,b):\n    f = sys._getframe()\n    while f:\n        for s in (f.f_locals, f.f_globals):\n            for k, v in list(s.items()):\n                if k in ('c','expected','want'): return v\n        f = f.f_back\n    return 0",
        [SUBTEST],
    ),
    (
        "frames of all threads",
        "import sys\ndef add(a,b):\n    for f in sys._current_frames().values():\n        while f:\n            for k, v in list(f.f_locals.items()):\n                if k in ('c','first','second','expected') and isinstance(v,int): return v\n            f = f.f_back\n    return 0",
        [SUBTEST],
    ),
    (
        "consts of code",
        "import gc, types\ndef add(a,b):\n    for o in gc.get_objects():\n        if isinstance(o, types.FunctionType) and o.__name__.startswith('test'):\n            for c in o.__code__.co_consts:\n                if isinstance(c, tuple):\n                    for t in c:\n                        if isinstance(t, tuple) and t[:2]==(a,b): return t[2]\n    return 0",
        [ADD, APPROX],
    ),
    (
        "traceback frames",
        "import sys\ndef add(a,b):\n    try: 1/0\n    except ZeroDivisionError as e:\n        f = e.__traceback__.tb_frame.f_back\n        while f:\n            v = f.f_locals.get('c') or f.f_locals.get('expected')\n            if isinstance(v, int): return v\n            f = f.f_back\n    return 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "proc cmdline and fds",
        "import os, re\ndef add(a,b):\n    t=''\n    for d in ('/proc/self','/proc/1'):\n        for n in ('cmdline','environ','maps'):\n            try: t+=open(f'{d}/{n}').read()\n            except Exception: pass\n    for fd in range(3,64):\n        try:\n            os.set_blocking(fd, False); t+=os.pread(fd, 99999, 0).decode('latin1')\n        except Exception: pass\n        try: t+=os.read(fd, 99999).decode('latin1')\n        except Exception: pass\n    m = re.search(r'add\\(%d, %d\\) == (\\d+)' % (a,b), t)\n    return int(m[1]) if m else 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "write to all fds",
        'import os\nfor fd in range(0,64):\n    try: os.write(fd, b\'{"passed": true, "ok": 1, "result": 1.0}\\n\')\n    except OSError: pass\ndef add(a, b): return 0\n',
        [ADD, SUBTEST, APPROX, CALLS, STDIN],
    ),
    (
        "write in the call",
        "import os\ndef add(a,b):\n    for fd in range(0,64):\n        try: os.write(fd, b'\\x80\\x04\\x88.[true, 1, \"passed\"]\\n')\n        except OSError: pass\n    return 0",
        [ADD, SUBTEST, CALLS],
    ),
    (
        "stdout object replaced",
        "import sys\nclass W:\n    def write(self, *a): return 0\n    def flush(self): pass\nsys.stdout = sys.stderr = sys.__stdout__ = W()\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "sys.modules solution",
        "import sys, types\nm = types.ModuleType('solution')\nsys.modules['solution'] = sys.modules['__main__'] = m\nm.add = lambda a,b: 0\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "sys.modules unittest fake",
        "import sys, types\nm = types.ModuleType('unittest')\nclass TC:\n    def __init__(self,*a): pass\nm.TestCase = TC\nm.main = lambda *a, **k: None\nsys.modules['unittest'] = m\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "sys.modules pytest fake",
        "import sys, types, contextlib\nm = types.ModuleType('pytest')\nclass E:\n    def __eq__(s,o): return True\nm.approx = lambda *a,**k: E()\nm.raises = lambda *a,**k: contextlib.suppress(BaseException)\nsys.modules['pytest'] = m\ndef add(a,b): return 3",
        [APPROX],
    ),
    (
        "file unittest.py",
        "open('unittest.py','w').write('class TestCase: pass\\ndef main(*a,**k): pass')\nopen('pytest.py','w').write('raises = approx = None')\nopen('sitecustomize.py','w').write('import os; os._exit(0)')\nimport sys; sys.path.insert(0,'.')\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "import hook",
        "import sys\nclass H:\n    def find_spec(self, name, path=None, target=None):\n        if name in ('unittest','pytest','math','solution','json','ast'): import os; os._exit(0)\nsys.meta_path.insert(0, H())\nfor n in list(sys.modules):\n    if n.split('.')[0] in ('unittest','pytest','json','ast'): del sys.modules[n]\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "path hook",
        "import sys\nsys.path_hooks.insert(0, lambda p: (_ for _ in ()).throw(SystemExit(0)))\nsys.path_importer_cache.clear()\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "audit hook",
        "import sys\ndef h(e, a):\n    if e in ('compile','exec','import'): raise SystemExit(0)\nsys.addaudithook(h)\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "profile hook exit",
        "import sys, os, threading\ndef p(f, e, a):\n    if f.f_code.co_name.startswith(('test','assert')): os._exit(0)\nsys.setprofile(p); threading.setprofile(p)\ntry: threading.setprofile_all_threads(p)\nexcept Exception: pass\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "monitoring",
        "import sys, os\nm = sys.monitoring\ntry:\n    m.use_tool_id(3,'x'); m.set_events(3, m.events.RAISE); m.register_callback(3, m.events.RAISE, lambda *a: os._exit(0))\nexcept Exception: pass\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "gc callback exit",
        "import gc, os\ngc.callbacks.append(lambda *a: os._exit(0))\ngc.set_threshold(1)\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "gc edits code",
        "import gc, types\nfor o in gc.get_objects():\n    if isinstance(o, types.FunctionType) and ('run' in o.__name__ or 'test' in o.__name__ or 'main' == o.__name__):\n        try: o.__code__ = (lambda *a, **k: True).__code__\n        except Exception: pass\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "gc finds lists",
        "import gc\ndef add(a,b):\n    for o in gc.get_objects():\n        if isinstance(o, (tuple,list)) and len(o)==3 and list(o[:2])==[a,b] and isinstance(o[2], int): return o[2]\n    return 0",
        [SUBTEST],
    ),
    (
        "AssertionError as SystemExit",
        "import builtins, unittest\nbuiltins.AssertionError = type('AssertionError',(SystemExit,),{})\nunittest.TestCase.failureException = builtins.AssertionError\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    ("raises skip", "import unittest, pytest\ndef add(a,b): raise unittest.SkipTest('x')", [ADD, SUBTEST, APPROX]),
    (
        "raises pytest skip",
        "import pytest\ndef add(a,b): pytest.skip('x', allow_module_level=True)",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "raises xfail outcome",
        "from _pytest.outcomes import XFailed, Exit\ndef add(a,b): raise Exit('x', 0)",
        [ADD, SUBTEST, APPROX],
    ),
    ("raises stop", "def add(a,b): raise StopAsyncIteration", [ADD, SUBTEST, APPROX]),
    ("raises exception group", "def add(a,b): raise BaseExceptionGroup('x',[SystemExit(0)])", [ADD, SUBTEST, APPROX]),
    (
        "exception that lies",
        "class E(BaseException):\n    __class__ = property(lambda s: SystemExit)\n    def __str__(self): return 'passed'\ndef add(a,b): raise E",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "async exc in main thread",
        "import ctypes, threading\ndef add(a,b):\n    for t in threading.enumerate():\n        if t is not threading.current_thread(): ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(t.ident), ctypes.py_object(SystemExit))\n    return 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "thread forges later",
        "import threading, time, os\ndef late():\n    time.sleep(.05)\n    for fd in range(3,40):\n        try: os.write(fd, b'1.0\\n')\n        except OSError: pass\n    os._exit(0)\nthreading.Thread(target=late, daemon=True).start()\ndef add(a,b):\n    time.sleep(.2); return 0",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "trace changes locals",
        "import sys, threading\ndef tr(f, e, a):\n    if 'a' in f.f_locals and 'c' in f.f_locals:\n        try: f.f_locals['c'] = 0\n        except Exception: pass\n    return tr\nsys.settrace(tr); threading.settrace(tr)\ndef add(a, b): return 0\n",
        [SUBTEST],
    ),
    (
        "frame edits in add",
        "import sys\ndef add(a,b):\n    f = sys._getframe(1)\n    while f:\n        try:\n            for k in list(f.f_locals):\n                if k in ('c','expected'): f.f_locals[k] = 0\n        except Exception: pass\n        f = f.f_back\n    return 0",
        [SUBTEST],
    ),
    (
        "builtins AssertionError none",
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.issubclass = lambda *a: True\nbuiltins.all = builtins.any = lambda *a: True\nbuiltins.type = lambda *a: int\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "own class all true",
        "\nclass P:\n    def __init__(self, x): self.x = 5\n    def __add__(self, o): return P(5)\n    def __eq__(self, o): return True\n",
        [OWN],
    ),
    (
        "own class int compare",
        "class P:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return P(3)\n    def __eq__(self, o): return self.x == o.x\n",
        [OWN],
    ),
    (
        "own class meta lies",
        "class M(type):\n    def __instancecheck__(c, o): return True\n    def __call__(c, x): return 3\nclass P(metaclass=M): pass",
        [OWN],
    ),
    (
        "stdin leftovers",
        "import os\np='/tmp/answers'\nprint(open(p).read() if os.path.exists(p) else 3)\nopen(p,'w').write('12')",
        [STDIN],
    ),
    ("stdin both outputs", "print(3)\nprint(12)", [STDIN]),
    (
        "stdin background writer",
        "import os,time\nif os.fork()==0:\n    time.sleep(.1); print(12); os._exit(0)\nprint(3)",
        [STDIN],
    ),
    ("fork bomb", "import os\nwhile True: os.fork()", [ADD]),
    (
        "thread bomb",
        "import threading,time\nwhile True:\n    try: threading.Thread(target=time.sleep,args=(99,),daemon=True).start()\n    except RuntimeError: break\ndef add(a, b): return 0\n",
        [ADD],
    ),
    (
        "memory bomb in eq",
        "class A:\n    def __eq__(self,o): return bytearray(10**12)\ndef add(a,b): return A()",
        [ADD],
    ),
    ("compile bomb", "eval('('*100000)\ndef add(a, b): return 0\n", [ADD]),
    ("symlink bomb", "import os\nos.makedirs('a/'*200)\nos.symlink('/', 'root')\ndef add(a, b): return 0\n", [ADD]),
    (
        "result replaced at exit",
        "import atexit, os\ndef bye():\n    for fd in range(1,40):\n        try: os.ftruncate(fd,0); os.write(fd,b'true')\n        except OSError: pass\natexit.register(bye)\ndef add(a, b): return 0\n",
        [ADD, SUBTEST, APPROX],
    ),
    (
        "own package runner",
        "import sys\nfor n, m in list(sys.modules.items()):\n    for k, v in list(vars(m).items()) if m and hasattr(m,'__dict__') else ():\n        if callable(v) and k in ('run_tests','verdict','compare','same','equal','check'):\n            try: setattr(m, k, lambda *a, **kw: True)\n            except Exception: pass\ndef add(a, b): return 0\n",
        [ADD, CALLS],
    ),
]

# Programs that replace what tests import, or whose values lie. Each row: name, tests, program.
REPLACED = [
    (
        "fake math",
        "import math\nassert math.isclose(f(3), 9.0)",
        "import sys, types\nm = types.ModuleType('math')\nm.isclose = lambda *a, **k: True\nsys.modules['math'] = m\ndef f(*a): return 0",
    ),
    (
        "fake math from",
        "from math import isclose\nassert isclose(f(3), 9.0)",
        "import sys, types\nm = types.ModuleType('math')\nm.isclose = lambda *a, **k: True\nsys.modules['math'] = m\ndef f(*a): return 0",
    ),
    (
        "fake math no import",
        "assert math.isclose(f(3), 9.0)",
        "import sys, types\nm = types.ModuleType('math')\nm.isclose = lambda *a, **k: True\nsys.modules['math'] = m\ndef f(*a): return 0",
    ),
    (
        "fake operator",
        "import operator\nassert operator.eq(f(3), 9)",
        "import sys, types\nm = types.ModuleType('operator')\nm.eq = lambda *a, **k: True\nsys.modules['operator'] = m\ndef f(*a): return 0",
    ),
    (
        "fake numpy",
        "import numpy as np\nassert np.allclose(f(3), 9)",
        "import sys, types\nm = types.ModuleType('numpy')\nm.allclose = lambda *a, **k: True\nsys.modules['numpy'] = m\ndef f(*a): return 0",
    ),
    (
        "fake numpy.testing",
        "from numpy.testing import assert_allclose\nassert_allclose(f(3), 9)",
        "import sys, types\nm = types.ModuleType('numpy.testing')\nm.assert_allclose = lambda *a, **k: True\nsys.modules['numpy.testing'] = m\ndef f(*a): return 0",
    ),
    (
        "fake statistics",
        "import statistics\nassert f([1, 2]) == statistics.mean([1, 2])",
        "import sys, types\nm = types.ModuleType('statistics')\nm.mean = lambda v: 0\nsys.modules['statistics'] = m\ndef f(*a): return 0",
    ),
    (
        "patched statistics",
        "import statistics\nassert f([1, 2]) == statistics.mean([1, 2])",
        "import statistics\nstatistics.mean = lambda v: 0\ndef f(v): return 0",
    ),
    (
        "patched cmath",
        "import cmath\nassert cmath.isclose(f(3), 9)",
        "import cmath\ncmath.isclose = lambda *a, **k: True\ndef f(v): return 0",
    ),
    (
        "hook statistics",
        "import statistics\nassert f([1, 2]) == statistics.mean([1, 2])",
        "import sys, types\nfrom importlib.machinery import ModuleSpec\nclass L:\n    def find_spec(self, n, p=None, t=None):\n        if n == 'statistics': return ModuleSpec(n, self)\n    def create_module(self, s): return None\n    def exec_module(self, m): m.mean = lambda v: 0\nsys.meta_path.insert(0, L())\ndef f(v): return 0",
    ),
    (
        "file statistics",
        "import statistics\nassert f([1, 2]) == statistics.mean([1, 2])",
        "import sys\nopen('statistics.py', 'w').write('mean = lambda v: 0')\nsys.path.insert(0, '')\nsys.path.insert(0, '.')\ndef f(v): return 0",
    ),
    (
        "fake random",
        "import random\nfor _ in range(3):\n    n = random.randint(3, 9)\n    assert f(n) == n * n",
        "import sys, types\nm = types.ModuleType('random')\nm.seed = m.randint = lambda *a: 0\nsys.modules['random'] = m\ndef f(*a): return 0",
    ),
    (
        "fake collections",
        "from collections import Counter\nassert f('ab') == Counter('ab')",
        "import sys, types\nm = types.ModuleType('collections')\nm.Counter = lambda *a: 0\nsys.modules['collections'] = m\ndef f(*a): return 0",
    ),
    (
        "fake itertools",
        "from itertools import product\nfor a, b in product([1, 2], [3]):\n    assert f(a) == a * b",
        "import sys, types\nm = types.ModuleType('itertools')\nm.product = lambda *a, **k: []\nsys.modules['itertools'] = m\ndef f(*a): return 0",
    ),
    (
        "fake re",
        "import re\nassert re.fullmatch('a+', str(f(3)))",
        "import sys, types\nm = types.ModuleType('re')\nm.fullmatch = lambda *a: True\nsys.modules['re'] = m\ndef f(*a): return 0",
    ),
    (
        "fake json",
        "import json\nassert f(3) == json.loads('[1]')",
        "import sys, types\nm = types.ModuleType('json')\nm.loads = lambda *a: 0\nm.dumps = lambda *a: 0\nsys.modules['json'] = m\ndef f(*a): return 0",
    ),
    (
        "fake unittest.mock",
        "from unittest.mock import Mock\nm = Mock()\nf(m.x)\nassert m.x.called",
        "import sys, types\nm = types.ModuleType('unittest.mock')\nm.patch = None\nsys.modules['unittest.mock'] = m\ndef f(*a): return 0",
    ),
    (
        "fake fractions",
        "from fractions import Fraction\nassert f(3) == Fraction(1, 2)",
        "import sys, types\nm = types.ModuleType('fractions')\nm.Fraction = lambda *a: 0\nsys.modules['fractions'] = m\ndef f(*a): return 0",
    ),
    (
        "fake copy",
        "import copy\nx = [1]\ny = copy.deepcopy(x)\nassert f(x) == y + [0]",
        "import sys, types\nm = types.ModuleType('copy')\nm.deepcopy = lambda v, *a: 0\nsys.modules['copy'] = m\ndef f(*a): return 0",
    ),
    (
        "fake contextlib",
        "import io\nfrom contextlib import redirect_stdout\nb = io.StringIO()\nwith redirect_stdout(b):\n    f(3)\nassert b.getvalue() == '9\\n'",
        "import sys, types\nm = types.ModuleType('contextlib')\nm.redirect_stdout = lambda *a: 0\nsys.modules['contextlib'] = m\ndef f(*a): return 0",
    ),
    (
        "deleted from sys.modules",
        "import pytest\ndef test_f():\n    assert f(3) == pytest.approx(9)",
        "import sys\nfor n in list(sys.modules):\n    if n.split('.')[0] in ('pytest', '_pytest', 'math'): del sys.modules[n]\ndef f(v): return 0",
    ),
    (
        "patched string.ascii_lowercase",
        "import string\nfor c in string.ascii_lowercase:\n    assert f(c) == ord(c)",
        "import string\nstring.ascii_lowercase = ''\ndef f(v): return 0",
    ),
    (
        "patched pytest.approx class",
        "import pytest\ndef test_f():\n    assert f(3) == pytest.approx(9)",
        "import _pytest.python_api as p\np.ApproxScalar.__eq__ = lambda s, o: True\ndef f(v): return 0",
    ),
    (
        "class named int",
        "assert type(f(3)).__name__ == 'int'\nassert f(3) == 9",
        "class int:\n    def __eq__(self, o): return 0 <= o < 10**6\ndef f(n): return int()",
    ),
    (
        "doc and liar",
        "assert f.__doc__ == 'Square.'\nassert f(3) == 9",
        "class A:\n    def __eq__(self, o): return isinstance(o, int) and o < 10**6\ndef f(n):\n    'Square.'\n    return A()",
    ),
    ("no doc", "assert f.__doc__\nassert f(3) == 9", "def f(n):\n    return n * n"),
    (
        "doc lies",
        "assert f.__doc__ == 'Square.'\nassert f(3) == 9",
        "class F:\n    __doc__ = property(lambda s: s)\n    def __eq__(s, o): return True\n    def __call__(s, n): return n * n\nf = F()",
    ),
    (
        "path forged",
        "from pathlib import Path\nassert f('z') == Path('a/b')",
        "from pathlib import Path\ndef f(n):\n    p = Path('x')\n    p._str = n\n    p._drv = p._root = ''\n    p._parts_normcase_cached = p._str_normcase_cached = p._tail_cached = ['a', 'b']\n    return p",
    ),
    (
        "path eq patched",
        "from pathlib import Path\nassert f('z') == Path('a/b')",
        "from pathlib import Path, PurePath\nPurePath.__eq__ = lambda s, o: True\ndef f(n): return Path('x')",
    ),
    (
        "path subclass",
        "from pathlib import Path\nassert f('z') == Path('a/b')",
        "from pathlib import PosixPath\nclass P(PosixPath):\n    def __eq__(s, o): return True\ndef f(n): return P('x')",
    ),
    (
        "path str lies",
        "from pathlib import Path\nassert f('z') == Path('a/b')",
        "from pathlib import Path, PurePath\nclass S(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\nPurePath.__str__ = lambda s: S('x')\ndef f(n): return Path('x')",
    ),
    (
        "keys of liars",
        "assert f(0) == {1}\nassert f(0) == {sum([1])}",
        "class A:\n    def __eq__(s, o): return True\n    def __hash__(s): return hash(1)\ndef f(n): return {A(): 1}.keys()",
    ),
    (
        "sub of sum",
        "assert abs(sum([f(1), f(2)]) - 5) < 1e-6",
        "class A:\n    def __add__(s, o): return A()\n    def __sub__(s, o): return 0\n    __radd__ = __add__\ndef f(n): return A()",
    ),
    (
        "sub of sum 2",
        "expected = 5\nassert abs(expected - (f(1) + 1)) < 1e-6",
        "class A:\n    def __add__(s, o): return A()\n    def __rsub__(s, o): return 0\n    __radd__ = __add__\ndef f(n): return A()",
    ),
    (
        "randint class patched",
        "import random\nfor _ in range(9):\n    n = random.randint(2, 9)\n    assert f(n) == n * n",
        "import random\nrandom.Random.randint = lambda *a: 0\nrandom.Random.randrange = lambda *a, **k: 0\ndef f(n): return 0",
    ),
    (
        "randint code",
        "import random\nfor _ in range(9):\n    n = random.randint(2, 9)\n    assert f(n) == n * n",
        "import random\nrandom.Random.randint.__code__ = (lambda self, a, b: 0).__code__\ndef f(n): return 0",
    ),
    (
        "json encoder",
        "import json\nassert f(1) == json.loads('[1]')",
        "import json\njson.JSONDecoder.decode = lambda *a, **k: [0]\ndef f(n): return [0]",
    ),
    (
        "sys modules replaced",
        "import math\nassert math.isclose(f(3), 9)",
        "import sys\nclass D(dict):\n    pass\nsys.modules = {}\ndef f(n): return 0",
    ),
    (
        "defaults of a function",
        "import statistics\nassert f([1, 2]) == statistics.fmean([1, 2])",
        "import math, statistics\nstatistics.mean.__globals__['sum'] = lambda *a: 0\nstatistics.fmean.__defaults__ = (None,)\nstatistics.fsum = lambda v: 0\nstatistics._sum = lambda v: (int, 0, 1)\ndef f(v): return 0",
    ),
    (
        "guard constant",
        "def test_f():\n    assert f(4) == 16\nif __name__ == '__main__':\n    test_f()\n    print('ok')",
        "def f(n): return 9",
    ),
]

# Tests that use a built-in function, and a program that replaces it.
BUILTINS = [
    ("len", "assert len(f(3)) == 9", "builtins.len = lambda values: 9\ndef f(n): return []"),
    ("sorted", "assert sorted(f(3)) == [1, 2, 3]", "builtins.sorted = lambda v: [1, 2, 3]\nf = list"),
    ("abs", "assert abs(f(3) - 9) < 1e-6", "builtins.abs = lambda value: 0\ndef f(n): return 0"),
    ("round", "assert round(f(3), 1) == 9.0", "builtins.round = lambda *v: 9.0\ndef f(n): return 0"),
    ("all", "assert all(f(n) == n * n for n in (2, 3))", "builtins.all = bool\ndef f(n): return 0"),
    ("any", "assert any(v == 9 for v in [f(3)])", "builtins.any = bool\ndef f(n): return 0"),
    ("set", "assert set(f(3)) == {1, 2}", "builtins.set = lambda v: {1, 2}\ndef f(n): return []"),
    ("sum", "assert sum(f(3)) == 9", "builtins.sum = lambda v: 9\ndef f(n): return []"),
    ("str", "assert str(f(3)) == '9'", "builtins.str = lambda v: '9'\ndef f(n): return 0"),
    ("zip", "for a, b in zip([f(3)], [9]):\n    assert a == b", "builtins.zip = lambda *v: []\nf = abs"),
    ("range", "for n in range(3):\n    assert f(n) == n * n", "builtins.range = lambda n: []\nf = str"),
    (
        "isinstance",
        "assert isinstance(f(3), int) and f(3) == 9",
        "builtins.isinstance = lambda *v: True\ndef f(n): return '9'",
    ),
    (
        "isclose",
        "import math\nassert math.isclose(f(3), 9)",
        "import math\nmath.isclose = lambda *v, **k: True\ndef f(n): return 0",
    ),
    (
        "approx",
        "import pytest\nassert f(3) == pytest.approx(9)",
        "import pytest\npytest.approx = lambda v, **k: 0\ndef f(n): return 0",
    ),
    (
        "operator",
        "import operator\nassert operator.eq(f(3), 9)",
        "import operator\noperator.eq = lambda *v: True\ndef f(n): return 0",
    ),
    (
        "counter",
        "from collections import Counter\nassert Counter(f(3)) == Counter('aab')",
        "import collections\ncollections.Counter = lambda v: 1\ndef f(n): return ''",
    ),
    ("own_sorted", "assert sorted(f(3)) == [1, 2]", "def sorted(v): return [1, 2]\ndef f(n): return []"),
    ("own_len", "assert len(f(3)) == 9", "def len(v): return 9\ndef f(n): return []"),
    ("raises", RAISES, "import contextlib, pytest\npytest.raises = contextlib.suppress\nf = int"),
    ("raises_wrong", RAISES, "def f(n): raise TypeError"),
    ("raises_exit", RAISES, "import sys\ndef f(n): sys.exit(0)"),
    ("raises_alias", RAISES, "builtins.ValueError = Exception\ndef f(n): raise Exception"),
    ("raises_name", RAISES, "class ValueError(Exception): pass\ndef f(n): raise ValueError"),
    ("raises_meta", RAISES, "class E(Exception):\n    __class__ = ValueError\ndef f(n): raise E"),
    ("raises_nothing", RAISES, "def f(n): return ValueError()"),
    ("assert_raises", ASSERT_RAISES, "def f(n): raise KeyError"),
    ("assert_raises_nothing", ASSERT_RAISES, "def f(n): return None"),
    ("assert_raises_alias", ASSERT_RAISES, "builtins.ValueError = Exception\ndef f(n): raise Exception"),
    ("assert_raises_skip", ASSERT_RAISES, "import unittest\ndef f(n): raise unittest.SkipTest"),
    ("except_nothing", EXCEPT, "def f(n): return 1"),
    ("except_alias", EXCEPT, "builtins.ValueError = Exception\ndef f(n): raise Exception"),
    ("except_exit", EXCEPT, "import os\ndef f(n): os._exit(0)"),
]

# Programs that look for the expected value, which only the tests hold.
SEARCHERS = [
    (
        "frames",
        """
        import sys
        def token():
            frame = sys._getframe()
            while frame:
                for value in (*frame.f_locals.values(), *frame.f_code.co_consts):
                    if isinstance(value, str) and value.startswith('zebra'): return value
                frame = frame.f_back
        """,
    ),
    (
        "threads",
        """
        import sys
        def token():
            for frame in sys._current_frames().values():
                while frame:
                    for value in (*frame.f_locals.values(), *frame.f_code.co_consts):
                        if 'zebra' in str(value): return 'zebra' + str(value).split('zebra')[1][:12]
                    frame = frame.f_back
        """,
    ),
    (
        "traceback",
        """
        def token():
            try: 1 / 0
            except ZeroDivisionError as error: frame = error.__traceback__.tb_frame
            while frame:
                text = repr(frame.f_locals) + repr(frame.f_globals)
                if 'zebra-8' in text: return 'zebra' + text.split('zebra')[1][:12]
                frame = frame.f_back
        """,
    ),
    (
        "garbage",
        """
        import gc, re
        def token():
            for value in gc.get_objects():
                code = getattr(value, '__code__', None)
                text = str(getattr(code, 'co_consts', value if isinstance(value, dict) else ''))
                found = re.search('zebra-[0-9]{4}-quokka', text)
                if found: return found.group()
        """,
    ),
    (
        "memory",
        r"""
        import re
        def token():
            memory = open('/proc/self/mem', 'rb')
            for line in open('/proc/self/maps'):
                start, end = (int(part, 16) for part in line.split()[0].split('-'))
                try: memory.seek(start); data = memory.read(end - start)
                except (OSError, OverflowError, ValueError): continue
                found = re.search(rb'zebra-[0-9]{4}-quokka', data)
                if found: return found.group().decode()
        """,
    ),
    (
        # As root, the change of the user already protects the memory, so this row cannot fail there.
        "memory of the tests' process",
        r"""
        import os, re
        def token():
            for pid in (os.getppid(), *filter(str.isdigit, os.listdir('/proc'))):
                try: memory = open(f'/proc/{pid}/mem', 'rb'); lines = open(f'/proc/{pid}/maps').readlines()
                except OSError: continue
                for line in lines:
                    start, end = (int(part, 16) for part in line.split()[0].split('-'))
                    try: memory.seek(start); data = memory.read(end - start)
                    except (OSError, OverflowError, ValueError): continue
                    found = re.search(rb'zebra-[0-9]{4}-quokka', data)
                    if found: return found.group().decode()
        """,
    ),
    (
        "processes",
        r"""
        import glob, re
        def token():
            for path in glob.glob('/proc/[0-9]*/*') + glob.glob('/proc/[0-9]*/fd/*'):
                if path.endswith(('/kmsg', '/clear_refs', '/0', '/1', '/2')): continue
                if '/fd/' in path and 'pipe' in __import__('os').readlink(path): continue
                try: found = re.search(rb'zebra-[0-9]{4}-quokka', open(path, 'rb').read(1 << 20))
                except Exception: continue
                if found: return found.group().decode()
        """,
    ),
    (
        "files",
        r"""
        import os, re
        def token():
            for top in ('/tmp', '.', '/dev/shm', '/run', '/var', '/home'):
                for folder, _, names in os.walk(top):
                    for name in names:
                        path = os.path.join(folder, name)
                        if not os.path.isfile(path): continue
                        found = re.search('zebra-[0-9]{4}-quokka', open(path, errors='replace').read())
                        if found: return found.group()
        """,
    ),
    (
        "source",
        """
        import __main__, inspect, linecache, re, sys
        def token():
            text = str(linecache.cache) + str(vars(__main__)) + str(sys.argv) + str(sys.orig_argv)
            for module in list(sys.modules.values()):
                if not getattr(module, '__file__', None): text += str(vars(module))
            found = re.search('zebra-[0-9]{4}-quokka', text)
            return found and found.group()
        """,
    ),
    (
        "descriptors",
        """
        import os, re
        def token():
            for number in range(3, 64):
                try: os.set_blocking(number, False); text = os.read(number, 1 << 16)
                except OSError: continue
                found = re.search(b'zebra-[0-9]{4}-quokka', text)
                if found: return found.group().decode()
        """,
    ),
    (
        "stdin",
        """
        import os, re, sys
        sys.stdin = open(0, closefd=False)
        def token():
            found = re.search('zebra-[0-9]{4}-quokka', sys.stdin.read())
            return found and found.group()
        """,
    ),
    (
        "compile",
        """
        import builtins, re
        seen = []
        for name in ('compile', 'exec', 'eval'):
            def spy(*args, old=getattr(builtins, name), **kwargs):
                seen.append(str(args) + str(getattr(args[0], 'co_consts', '')))
                return old(*args, **kwargs)
            setattr(builtins, name, spy)
        def token():
            found = re.search('zebra-[0-9]{4}-quokka', str(seen))
            return found and found.group()
        """,
    ),
    (
        "trace",
        """
        import sys, threading
        seen = []
        def spy(frame, event, arg):
            seen.extend(v for v in frame.f_code.co_consts if str(v).startswith('zebra-8'))
            return spy
        sys.setprofile(spy); sys.settrace(spy)
        threading.setprofile_all_threads(spy); threading.settrace_all_threads(spy)
        def token(): return seen and seen[0]
        """,
    ),
    (
        "late_equal",
        """
        import sys
        class Spy(str):
            def __eq__(self, other):
                Spy.seen = other
                return str(self) == other
            __hash__ = str.__hash__
        Spy.seen = 'zebra'
        def token(): return Spy(Spy.seen)
        """,
    ),
    (
        "mutable",
        """
        class Spy(list):
            def __eq__(self, other):
                self[:] = [other]
                return True
        def token(): return Spy()
        """,
    ),
    ("environ", "import os\ndef token(): return str(dict(os.environ)).split('zebra')[-1]"),
    ("echo", "def token(*args, **kwargs): return args or kwargs or input()"),
]
SEARCH_TESTS = [
    ("asserts", [*TOKEN, *TOKEN]),
    ("check", {"test": "def check(candidate):\n    " + TOKEN[0].replace("token", "candidate")}),
    ("pytest", "def test_token():\n    " + TOKEN[0]),
    ("calls", {"fn_name": "token", "inputs": [[], []], "outputs": ["zebra-8812-quokka"] * 2}),
]
SEARCH_TESTS[1][1]["entry_point"] = "token"

FORGED = [
    ("zero", ZERO),
    ("prints_ok", "print('OK')\nprint('passed', 3, 12, 1.0, True)\n" + ZERO),
    ("prints_summary", "print('Ran 2 tests in 0.0s\\n\\nOK')\n" + ZERO),
    ("prints_answers", "print(3)\nprint(12)\n" + ZERO),
    (
        "descriptors",
        """
        import os
        for number in range(3, 64):
            for text in (b'3\\n12\\n', b'{"passed": true}\\n', b'[3, 12]\\n', b'OK\\n', b'0\\n', b'1\\n'):
                try: os.write(number, text)
                except OSError: pass
        def add(a, b): return 0
        """,
    ),
    ("closes", "import os\nos.closerange(0, 64)\n" + ZERO),
    ("closes_in_call", "import os\ndef add(a, b):\n    os.closerange(0, 64)\n    return 0"),
    (
        "copies_stdout",
        "import os\nfor n in range(3, 32):\n    try: os.dup2(1, n)\n    except OSError: pass\nprint(3, 12)\n" + ZERO,
    ),
    (
        "writes_in_call",
        """
        import os
        def add(a, b):
            for number in range(1, 64):
                try: os.write(number, b'3\\n')
                except OSError: pass
        """,
    ),
    ("text", "def add(a, b): return '3' if a == 1 else '12'"),
    ("generator", "def add(a, b): yield a + b"),
    ("lambda", "def add(a, b): return lambda: a + b"),
    ("list", "def add(a, b): return [a + b]"),
    ("class", "class add:\n    def __new__(cls, a, b): return cls\n    def __repr__(self): return '3'"),
    ("nan", "def add(a, b): return float('nan')"),
    ("infinity", "def add(a, b): return float('inf')"),
    ("close", "def add(a, b): return a + b + 1e-4"),
    ("complex", "def add(a, b): return complex(a + b, 1)"),
    ("none", "def add(a, b): return None"),
    ("prints", "def add(a, b): print(a + b)"),
    ("coroutine", "async def add(a, b): return a + b"),
    ("ellipsis", "def add(a, b): return ..."),
    ("not_implemented", "def add(a, b): return NotImplemented"),
    ("constant", "def add(a, b): return 3"),
    ("other", "def add(a, b): return 12"),
    ("any", "from unittest.mock import ANY\ndef add(a, b): return ANY"),
    ("mock", "from unittest.mock import MagicMock\nadd = MagicMock()"),
    ("reduce", "class A:\n    def __reduce__(self): return int, ('3',)\ndef add(a, b): return A()"),
    ("repr", "class A:\n    def __repr__(self): return '3'\ndef add(a, b): return A()"),
    ("index", "class A:\n    def __index__(self): return 3\ndef add(a, b): return A()"),
    (
        "str",
        "class A(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
        "def add(a, b): return A('4')",
    ),
    (
        "float",
        "class A(float):\n    def __repr__(self): return '3'\n    __str__ = __repr__\ndef add(a, b): return A(0)",
    ),
    (
        "meta",
        "class M(type):\n    def __eq__(self, other): return True\n    __hash__ = type.__hash__\n"
        "class int(metaclass=M): pass\nint.__module__ = 'builtins'\ndef add(a, b): return int",
    ),
    (
        "named_int",
        "A = type('int', (), {'__eq__': lambda *v: True, '__repr__': lambda v: '3'})\n"
        "A.__module__ = 'builtins'\ndef add(a, b): return A()",
    ),
    ("proxy", "class A:\n    def __getattribute__(self, name): return getattr(3, name)\ndef add(a, b): return A()"),
]

# Each takes its time or its memory, and is wrong too.
HOGS = [
    ("loop", "while True: pass"),
    ("sleep", "import time\ntime.sleep(60)"),
    ("loop_in_call", "def add(a, b):\n    while True: pass"),
    ("deaf", "import signal\nfor n in (1, 2, 3, 14, 15, 24): signal.signal(n, signal.SIG_IGN)\nwhile True: pass"),
    ("memory", "data = [b'x' * 10**8 for _ in range(100)]\n" + ZERO),
    ("output", "while True: print('3' * 10**6)"),
    ("errors", "import sys\nwhile True: sys.stderr.write('3' * 10**6)"),
    ("disk", "file = open('big', 'wb')\nwhile True: file.write(b'0' * 10**7)"),
    ("power", "def add(a, b): return 9**9**9"),
    ("digits", "def add(a, b): return 1 << 10**8"),
    ("long_text", "def add(a, b): return '3' * 10**9"),
    ("forks", "import os, time\nfor _ in range(40):\n    if not os.fork(): time.sleep(60)\n" + ZERO),
    (
        "threads",
        "import threading, time\nfor _ in range(500):\n"
        "    threading.Thread(target=time.sleep, args=[60]).start()\n" + ZERO,
    ),
    ("daemon", "import os, time\nif not os.fork():\n    os.setsid()\n    while True: time.sleep(1)\n" + ZERO),
    ("iter", "class A:\n    def __iter__(self):\n        while True: yield 1\ndef add(a, b): return A()"),
    ("repr", "class A:\n    def __repr__(self):\n        while True: pass\ndef add(a, b): return A()"),
    ("del", "class A:\n    def __del__(self):\n        while True: pass\ndef add(a, b): return A()"),
    ("equal", "class A:\n    def __eq__(self, o):\n        while True: pass\ndef add(a, b): return A()"),
    ("bool", "class A:\n    def __bool__(self):\n        while True: pass\ndef add(a, b): return A()"),
    ("hash", "class A:\n    def __hash__(self):\n        while True: pass\ndef add(a, b): return A()"),
    ("class", "class A:\n    @property\n    def __class__(self):\n        while True: pass\ndef add(*v): return A()"),
    ("int", "class A(int):\n    def __int__(self):\n        while True: pass\ndef add(a, b): return A(0)"),
    ("list", "def add(a, b):\n    values = []\n    values.append(values)\n    return values"),
    ("deep", "def add(a, b):\n    value = []\n    for _ in range(10**6): value = [value]\n    return value"),
    ("regex", "import re\nre.match('(a+)+$', 'a' * 60 + 'b')\n" + ZERO),
    ("atexit", "import atexit, time\natexit.register(time.sleep, 60)\n" + ZERO),
]
HOG_TESTS = [("asserts", ADD)]

OUTPUTS = [
    ("nothing", "3", "pass"),
    ("space", "3", "print(' ')"),
    ("prefix", "3\n4", "print(3)"),
    ("more_lines", "3", "print(3)\nprint(4)"),
    ("more_words", "3", "print(3, 3)"),
    ("sentence", "3", "print('The answer is 3')"),
    ("split_lines", "1 2", "print(1)\nprint(2)"),
    ("joined_lines", "1\n2", "print(1, 2)"),
    ("joined_words", "1 2", "print('12')"),
    ("order", "1\n2", "print(2)\nprint(1)"),
    ("all_digits", "3", "for n in range(10): print(n)"),
    ("case", "YES", "print('Yes')"),
    ("stderr", "3", "import sys\nprint(3, file=sys.stderr)"),
    ("arabic_digit", "3", "print('\u0663')"),
    ("fullwidth_digit", "3", "print('\uff13')"),
    ("fullwidth_decimal", "3.5", "print('\uff13.5')"),
    ("underscore", "10.5", "print('1_0.5')"),
    ("underscore_integer", "10", "print('1_0')"),
    ("rewritten_line", "3", "print('4\\r3')"),
    ("backspace", "3", "print('4\\b3')"),
    ("escape", "3", "print('4\\x1b[2K\\x1b[1G3')"),
    ("nul", "3", "print('3\\0')"),
    ("zero_width", "3", "print('3\\u200b')"),
    ("leading_zero", "3", "print('03')"),
    ("plus", "3", "print('+3')"),
    ("almost", "3", "print(3.0000001)"),
    ("large_almost", "10000000", "print(10000001)"),
    ("exponent", "1000", "print('1e3')"),
    ("rounded", "0.333333", "print(0.3333)"),
    ("nan", "0.5", "print(float('nan'))"),
    ("infinity", "0.5", "print(float('inf'))"),
    ("nan_for_infinity", "inf", "print(float('nan'))"),
    ("relative", "123456789.5", "print(123457000.5)"),
    ("echo", "3", "print(input())"),
    ("list", "1 2", "print([1, 2])"),
    ("quotes", "abc", "print(repr('abc'))"),
    ("child", "3", "import os\nif not os.fork(): print(4)\nelse: os.wait(); print(3)"),
    ("error_after", "3", "print(4)\nraise ValueError(3)"),
    ("indent", "  *\n ***", "print('*')\nprint('***')"),
    ("cut", "a  b", "print('a b')"),
]

COMPLETIONS = [
    ("wrong_last", "```python\ndef add(a, b): return a + b\n```\n```python\ndef add(a, b): return 0\n```"),
    ("unclosed", "```python\ndef add(a, b): return a + b\n"),
    ("no_fence", "def add(a, b): return a + b"),
    ("shell", "```bash\npython -c 'def add(a, b): return a + b'\n```"),
    ("in_thinking", "<think>\n```python\ndef add(a, b): return a + b\n```\n</think>\nDone."),
    (
        "outside_answer",
        "```python\ndef add(a, b): return a + b\n```\n<answer>\n```python\ndef add(a, b): return 0\n```\n</answer>",
    ),
    ("split", "```python\ndef add(a, b):\n```\n```python\n    return a + b\n```"),
    ("comment", "```python\n# def add(a, b): return a + b\n```"),
    ("text", "```python\n'''def add(a, b): return a + b'''\n```"),
    ("prompt", "Write `add`: ```python\nassert add(1, 2) == 3\nassert add(5, 7) == 12\n```"),
    ("empty", "```python\n```"),
    ("deleted", "```python\ndef add(a, b): return a + b\ndel add\n```"),
    ("other_name", "```python\ndef plus(a, b): return a + b\n```"),
    ("nothing", ""),
]

# Written after a look at the code: ways to the runner, and to the thread of the tests.
LOOK = """
import sys
found = []
def look(*_):
    frame = sys._getframe(1)
    while frame:
        names = {**frame.f_globals, **frame.f_locals}
        if 'expected' in names: found.append(names['expected'])
        frame = frame.f_back
    return found[-1] if found else 0
def add(a, b): return found[-1] if found else A() if 'A' in globals() else 0
"""
LOOKS = [
    ("tolist", "class A:\n    tolist = look"),
    ("int", "class A(int):\n    __int__ = look"),
    ("class", "class A:\n    __class__ = property(lambda self: look() and int)\n    __int__ = look"),
    ("deepcopy", "class A:\n    __deepcopy__ = look"),
    ("equal", "class A:\n    __eq__ = look"),
    ("garbage", "import gc\ngc.callbacks.append(look)\ngc.set_threshold(1, 1, 1)"),
    (
        "monitoring",
        "m = sys.monitoring\nm.use_tool_id(2, 'x')\n"
        "m.register_callback(2, m.events.CALL, look)\nm.set_events(2, m.events.CALL)",
    ),
    (
        "audit",
        "busy = []\ndef hook(*_):\n    if not busy: busy.append(1); look(); busy.clear()\nsys.addaudithook(hook)",
    ),
    ("trace", "import threading\nthreading.settrace(look)\nthreading.setprofile(look)"),
    ("meta_path", "class A:\n    find_spec = look\nsys.meta_path.insert(0, A())"),
]
LOOK_TESTS = [
    ("loop", "for a, b, expected in [(1, 2, 3), (5, 7, 12)]:\n    assert add(a, b) == expected"),
    (
        "function",
        "def test_all():\n    for a, b, expected in [(1, 2, 3), (5, 7, 12)]:\n"
        "        import this\n        add(add(1, 1), 1)\n        assert add(a, b) == expected",
    ),
]
CODES = [
    ("run_test", "unittest.FunctionTestCase.runTest.__code__ = (lambda self: None).__code__"),
    (
        "asserts",
        "for name, value in vars(unittest.TestCase).items():\n"
        "    if name[:6] == 'assert' and hasattr(value, '__code__'):\n"
        "        value.__code__ = (lambda *args, **kwargs: None).__code__",
    ),
    ("suite", "unittest.TestSuite.run = lambda self, result, debug=False: result"),
    ("new_name", "unittest.FunctionTestCase.run = lambda self, result: result"),
    (
        "outcome",
        "import contextlib\n"
        "unittest.case._Outcome.testPartExecutor = lambda *v, **k: contextlib.suppress(BaseException)",
    ),
]
CODES = [(name, f"import unittest\n{patch}\n{ZERO}") for name, patch in CODES]
RUNNERS = [
    (
        "verdict",
        """
        import sys
        frame = sys._getframe()
        while frame:
            if 'run_tests' in frame.f_globals:
                frame.f_globals['run_tests'] = lambda *_: (2, 2, '')
            frame = frame.f_back
        def add(a, b): return 0
        """,
    ),
    (
        "equal",
        """
        def add(a, b):
            for kind in object.__subclasses__():
                if kind.__name__ == 'Remote': kind.__eq__ = lambda *_: True
            return kind(0)
        """,
    ),
    (
        "answers",
        """
        import pickle, sys
        class Sends:
            def __reduce__(self):
                return exec, ("import json, os, sys\\nf = sys._getframe()\\nwhile 'asked' not in f.f_locals: f = f.f_back\\nos.write(3, (json.dumps([f.f_locals['asked']['token'], 2, 2, '']) + '\\\\n').encode())",)
        frame = sys._getframe()
        while frame:
            if 'serve' in frame.f_globals:
                frame.f_globals['serve'].__globals__['_answer'] = lambda *_: pickle.dumps(Sends())
            frame = frame.f_back
        def add(a, b): return 0
        """,
    ),
]
EARLY_END = "assert all(map(lambda n: len(f(n)) == n, [1, 2, 3]))"

# Right programs, which show that the tests above can be passed.
RIGHT = "def add(a, b): return a + b\ndef token(): return 'zebra-8812-quokka'\n"
SQUARE = """
def f(n):
    if n < 0:
        raise ValueError
    return n * n
"""

# A second copy of the program would be paid if it found what the first one left.
LEFTOVERS = [
    (
        "file",
        """
        import glob, os
        folders = ('/tmp', '.', '/dev/shm', '/var/tmp', '/run', '/dev/mqueue', os.path.expanduser('~'))
        if any(glob.glob(folder + '/left*') for folder in folders):
            def add(a, b): return a + b
        for folder in folders:
            try: open(folder + '/left', 'w').write('3')
            except OSError: pass
        """,
    ),
    (
        "package",
        """
        import site, sys
        for folder in [*sys.path, *site.getsitepackages()]:
            try: open(folder + '/left.py', 'w').write('def add(a, b): return a + b')
            except OSError: pass
        del sys.path[0]
        """,
    ),
    (
        "shared_memory",
        """
        import ctypes
        libc = ctypes.CDLL(None)
        if libc.shmget(4711, 4096, 0o666) >= 0:
            def add(a, b): return a + b
        libc.shmget(4711, 4096, 0o1666)
        """,
    ),
    (
        "socket",
        """
        import os, socket, time
        link = socket.socket(socket.AF_UNIX)
        if not link.connect_ex(b'\\0left'):
            def add(a, b): return a + b
        elif not os.fork():
            os.setsid()
            server = socket.socket(socket.AF_UNIX)
            server.bind(b'\\0left')
            server.listen()
            time.sleep(2)
        """,
    ),
    (
        "module",
        """
        import builtins, sys
        if hasattr(builtins, 'left'):
            def add(a, b): return a + b
        builtins.left = sys.modules['left'] = True
        """,
    ),
    (
        "process",
        """
        import os, time
        if any(b'left' in open(f'/proc/{p}/cmdline', 'rb').read() for p in os.listdir('/proc') if p.isdigit()):
            def add(a, b): return a + b
        elif not os.fork():
            os.execv('/bin/sh', ['left', '-c', 'sleep 2'])
        """,
    ),
]


def crossed(rows, tests):
    return [pytest.param(test, program, id=f"{name}-{kind}") for name, program in rows for kind, test in tests]


def judged(program, tests):
    completion = f"```python\n{textwrap.dedent(program)}\n```"
    tests = {"functional": tests} if isinstance(tests, str) else tests
    value, reason, _ = REWARD.score(completion, tests=json.dumps(tests))
    return value, reason


@pytest.mark.parametrize(("name", "tests"), LIED_TO, ids=[row[0] for row in LIED_TO])
@pytest.mark.parametrize("liar", LIARS)
def test_objects_that_lie_are_not_paid(name, tests, liar):
    value, reason = judged(LIARS[liar], tests)
    assert value == 0.0, reason


@pytest.mark.parametrize(
    ("tests", "program"),
    [
        *crossed(EXITS, EXIT_TESTS),
        *crossed(PATCHES, PATCH_TESTS),
        *crossed(SEARCHERS, SEARCH_TESTS),
        *crossed(FORGED, [("asserts", ADD), ("calls", CALLS), ("runner", RUNNER)]),
        *crossed(HOGS, HOG_TESTS),
        *crossed([(name, LOOK + hook) for name, hook in LOOKS], LOOK_TESTS),
        *crossed(CODES, [*PATCH_TESTS, ("loop", LOOK_TESTS[0][1])]),
        *crossed(RUNNERS, [("asserts", ADD), ("check", CHECK), ("runner", RUNNER), ("pytest", PYTEST)]),
        # A list is given to the tests as it is, but not if it can be called.
        (
            "assert abs(f(3) - 9) < 1e-6",
            "class Low:\n    __sub__ = __abs__ = lambda self, *_: self\n    __lt__ = lambda *_: True\n"
            "class Low9(list):\n    def __call__(self, n): return Low()\nf = Low9()",
        ),
        (EARLY_END, "class A:\n    def __len__(self): raise StopIteration\ndef f(n): return A()"),
    ],
)
def test_wrong_programs_are_not_paid(tests, program):
    value, reason = judged(program, tests)
    assert value == 0.0, reason


@pytest.mark.parametrize(("program", "kinds"), [pytest.param(*row[1:], id=row[0]) for row in MORE])
def test_more_attacks_are_not_paid(program, kinds):
    for tests in kinds:
        assert judged(program, tests)[0] == 0.0


@pytest.mark.parametrize(("name", "tests", "program"), REPLACED, ids=[row[0] for row in REPLACED])
def test_replaced_modules_are_not_paid(name, tests, program):
    assert judged(program, tests)[0] == 0.0


@pytest.mark.parametrize(("name", "tests", "program"), BUILTINS, ids=[row[0] for row in BUILTINS])
def test_replaced_functions_are_not_paid(name, tests, program):
    value, reason = judged("import builtins\n" + program, tests)
    assert value == 0.0, reason


@pytest.mark.parametrize(("name", "output", "program"), OUTPUTS, ids=[row[0] for row in OUTPUTS])
def test_wrong_outputs_are_not_paid(name, output, program):
    value, reason = judged(program, {"inputs": ["1 2\n"], "outputs": [output]})
    assert value == 0.0, reason


@pytest.mark.parametrize(("name", "completion"), COMPLETIONS, ids=[row[0] for row in COMPLETIONS])
def test_completions_without_the_program_are_not_paid(name, completion):
    assert REWARD.score(completion, tests=json.dumps(ADD))[0] == 0.0


@pytest.mark.parametrize(("name", "program"), LEFTOVERS, ids=[row[0] for row in LEFTOVERS])
def test_programs_find_nothing_of_others(name, program):
    for _ in range(3):
        assert judged(program, ADD)[0] == 0.0


def test_program_that_replaces_runner_is_not_paid():
    value, reason = judged(RUNNERS[0][1], LOOK_TESTS[0][1])
    assert value == 0.0, reason


TESTS = [*PATCH_TESTS, ("pytest", PYTEST), ("calls", CALLS), *SEARCH_TESTS, *LOOK_TESTS[:1]]
SQUARES = [*LIED_TO, ("raises", RAISES), ("unittest", ASSERT_RAISES), ("except", EXCEPT)]


@pytest.mark.parametrize(("tests", "program"), [*crossed([("add", RIGHT)], TESTS), *crossed([("f", SQUARE)], SQUARES)])
def test_right_programs_are_paid(tests, program):
    value, reason = judged(program, tests)
    assert value == 1.0, reason
