"""Objects of a program, seen from tests that run in another process.

Data crosses between the two processes as a copy. Any other object stays in the program's process, and the tests
get a `Remote` in its place. To use it, they ask the program's process to call a function:

    tests: Program.ask(operator.call, Remote(3), [1, 2])   ->   program: serve() calls objects[3]([1, 2])

The program answers with pickles. `_FromProgram` reads only data, so an answer cannot run code.
"""

import builtins
import collections
import operator
import os
import pickle
import socket
import sys
import types
from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, Any, ClassVar, NoReturn
from unittest import SkipTest

# The classes whose values are data, and the functions that their pickles call.
_DATA = {
    "array": {"array", "_array_reconstructor"},
    "builtins": {
        *("NoneType", "bool", "int", "float", "complex", "str", "bytes", "bytearray"),
        *("list", "tuple", "dict", "set", "frozenset", "range", "slice"),
        *("object", "ellipsis", "Ellipsis", "NotImplementedType", "NotImplemented"),
    },
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID", "SafeUUID"},
}
_NUMPY = {"_reconstruct", "_frombuffer", "dtype", "ndarray", "scalar"}
# A subclass of these is sent as the class itself.
_BASES: tuple[Any, ...] = (int, float, str, bytes, list, tuple, dict, set, frozenset)
_KEYS: Any = type({}.keys())
# These errors would end a loop or a test of the tests early, as if all had passed.
_ENDS = (StopIteration, StopAsyncIteration, GeneratorExit, SkipTest)
# Calls and assignments change an object. Until the next one, whatever these return stays the same. Otherwise
# an object could have another length for each assertion.
_CHANGES = (operator.call, setattr, delattr, operator.setitem, operator.delitem)
_READS = (bool, len, list, int, float, str, repr, hash, abs, round, format, operator.getitem)

Function = Callable[..., Any]


class NeedsObjects(Exception):
    """The tests give the program something that is not data."""


# The program's process.


def serve(connection: socket.socket, first: Any) -> None:
    """Send a first value to the tests, then answer their questions until they end."""
    objects: list[Any] = []
    with connection.makefile("rwb") as stream:
        _send(stream, _answer(objects, lambda: first, (), {}, False))
        while True:
            try:
                question = _receive(stream)
            except EOFError:
                return
            _send(stream, _answer(objects, *_FromTests(question, objects).load()))


def _answer(
    objects: list[Any],
    function: Function,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    sends_back: bool,
) -> bytes:
    """Call a function. Return a pickle: whether it returned, its value or its error, and its arguments."""
    try:
        value = function(*arguments, **keywords)
        changed = (*arguments, *keywords.values()) if sends_back else ()
        return _pickled(_ToTests, objects, (True, value, changed))
    except BaseException as error:
        classes = [(kind.__module__, kind.__qualname__) for kind in type(error).__mro__]
        try:
            facts = (classes, error.args, str(error), vars(error))
            changed = (*arguments, *keywords.values()) if sends_back else ()
            return _pickled(_ToTests, objects, (False, facts, changed))
        except Exception:  # the program may have replaced any part of its error
            return pickle.dumps((False, (classes, (), "", {}), ()))


class _ToTests(pickle.Pickler):
    """Writes data. Any other object becomes its index in `objects`."""

    def __init__(self, file: IO[bytes], objects: list[Any]):
        super().__init__(file)
        self._objects = objects

    def persistent_id(self, value: Any) -> Any:
        """Return a description for `_FromProgram.persistent_load`, None to write the value itself."""
        kind = type(value)
        if kind in _BASES:
            return None
        is_named = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
        named: Any = value if is_named else kind
        if _is_data(named.__module__, named.__name__) or _is_numpy(kind.__module__):
            return None
        if isinstance(value, PurePath):
            return "path", str(value)
        if kind is _KEYS:
            return "keys", list(value)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return "named tuple", kind._fields, tuple(value)
        for base in _BASES:
            if isinstance(value, base) and not callable(value):
                return "plain", base.__str__(value) if base is str else base(value)
        self._objects.append(value)
        return "object", len(self._objects) - 1


class _FromTests(pickle.Unpickler):
    """Reads the tests' questions. They may name any function."""

    def __init__(self, file: IO[bytes], objects: list[Any]):
        super().__init__(file)
        self._objects = objects

    def persistent_load(self, index: Any) -> Any:
        return self._objects[index]


# The tests' process.


class Program:
    """The tests' connection to the program's process.

    Args:
        process: the id of the program's process.
        sees_changes: a call changes the tests' own containers, as the program has changed its copies of them.
    """

    def __init__(self, connection: socket.socket, process: int, sees_changes: bool):
        self.needs_objects = False
        self._known: dict[bytes, Any] = {}  # the answers to `_READS`
        self._stream = connection.makefile("rwb")
        self._process = process
        self._sees_changes = sees_changes

    def ask(self, function: Function, *arguments: Any, **keywords: Any) -> Any:
        """Call a function in the program's process. Return its value, or raise its error.

        Raises: NeedsObjects if an argument is neither data nor of the program.
        """
        sends_back = self._sees_changes and function is operator.call
        try:
            question = _pickled(_ToProgram, (function, arguments, keywords, sends_back))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.needs_objects = True
            raise NeedsObjects from error
        if function in _CHANGES:
            self._known.clear()
        if question in self._known:
            return self._known[question]
        try:
            _send(self._stream, question)
        except OSError:
            self._end_like_program()
        returned, value, changed = self.receive()
        for argument, new in zip((*arguments, *keywords.values()), changed, strict=False):
            _take_over(argument, new)
        if returned:
            if function in _READS:
                self._known[question] = value
            return value
        raised = _error(*value)
        if isinstance(raised, _ENDS) and function is not next:
            raised = RuntimeError(f"the program raised {type(raised).__name__}")
        raise raised

    def receive(self) -> Any:
        """Return the program's next answer. If the program has ended, this process ends in the same way."""
        try:
            answer = _receive(self._stream)
        except (EOFError, OSError):
            self._end_like_program()
        try:
            return _FromProgram(answer).load()
        except Exception as error:  # a pickle that the program wrote itself
            raise RuntimeError("the program sent no data") from error

    def _end_like_program(self) -> NoReturn:
        _, status = os.waitpid(self._process, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)


def _error(
    classes: list[tuple[str, str]], arguments: Any, text: str, names: dict[str, Any]
) -> BaseException:
    """Return an error of the first class that is not the program's own."""
    kind: Any = Exception
    for module, name in classes:
        root = module.partition(".")[0]
        if root == "unittest" or root not in {"numpy", *sys.stdlib_module_names}:
            continue
        value = getattr(sys.modules.get(module), name, None)
        if isinstance(value, type) and issubclass(value, BaseException):
            kind = value
            break
    error: BaseException = kind.__new__(kind, *arguments)
    if str(error) != text:
        error = kind.__new__(kind, text)
    error.__dict__.update(names)
    return error


def _take_over(old: Any, new: Any) -> None:
    """Give a container of the tests the contents that the program has left in its copy."""
    match old:
        case list() | bytearray():
            old[:] = new
        case dict() | set():
            old.clear()
            old.update(new)
        case collections.deque():
            old.clear()
            old.extend(new)
        case _ if hasattr(old, "dtype") and hasattr(old, "shape") and old.shape:
            old[...] = new


class _ToProgram(pickle.Pickler):
    """Writes data and remote objects. It refuses objects of the tests, which the program would get as copies."""

    def persistent_id(self, value: Any) -> Any:
        """Return the index of a remote object, None to write the value itself."""
        if type(value) is Remote:
            return value._index
        # Code of the tests, and a method such as `seen.append`, which would change a copy of `seen`.
        is_code = isinstance(value, type | types.FunctionType) and value.__module__ == "tests"
        if isinstance(value, types.BuiltinMethodType):
            is_code = not isinstance(value.__self__, types.ModuleType | type)
        if is_code:
            raise pickle.PicklingError("code of the tests")
        return None


class _FromProgram(pickle.Unpickler):
    """Reads data and indices of objects, and nothing else."""

    def persistent_load(self, description: Any) -> Any:
        match description:
            case "object", int(index):
                return Remote(index)
            case "path", str(path):
                return Path(path)
            case "keys", keys:
                return dict.fromkeys(keys).keys()
            case "named tuple", names, values:
                return collections.namedtuple("Row", names)(*values)
            case "plain", value:
                return value
        raise pickle.UnpicklingError

    def find_class(self, module: str, name: str) -> Any:
        if _is_data(module, name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError


def _asked(function: Function) -> Function:
    """Return a method that applies a function in the program's process."""

    def method(self: "Remote", *arguments: Any, **keywords: Any) -> Any:
        return self.program.ask(function, self, *arguments, **keywords)

    return method


def _asked_of_two(function: Function) -> Function:
    """Return a method that applies an operator to two objects of the program.

    With data of the tests, the program could claim that its object equals them, or that their difference is 0.
    """

    def method(self: "Remote", other: Any) -> Any:
        return self.program.ask(function, self, other) if type(other) is Remote else NotImplemented

    return method


class Remote:
    """Stands for an object of the program. It never equals data, and no data can be subtracted from it."""

    program: ClassVar[Program]

    _index: int  # of the object, in the program's process

    def __init__(self, index: int):
        object.__setattr__(self, "_index", index)

    def __getattr__(self, name: str) -> Any:
        # Libraries trust other such attributes: numpy would read `__array_interface__`.
        if name.startswith("__") and name not in ("__name__", "__wrapped__"):
            raise AttributeError(name)
        return self.program.ask(getattr, self, name)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self.program.ask(getattr, self, "__doc__")

    __call__ = _asked(operator.call)
    __setattr__ = _asked(setattr)
    __delattr__ = _asked(delattr)
    __hash__ = _asked(hash)
    __str__ = _asked(str)
    __repr__ = _asked(repr)
    __format__ = _asked(format)
    __neg__ = _asked(operator.neg)
    __abs__ = _asked(abs)
    __round__ = _asked(round)
    __bool__ = _asked(bool)
    __len__ = _asked(len)
    __int__ = _asked(int)
    __float__ = _asked(float)
    __getitem__ = _asked(operator.getitem)
    __setitem__ = _asked(operator.setitem)
    __delitem__ = _asked(operator.delitem)
    __next__ = _asked(next)
    # Sums and products also of an object and a number.
    __add__ = _asked(operator.add)
    __mul__ = _asked(operator.mul)
    __eq__ = _asked_of_two(operator.eq)
    __ne__ = _asked_of_two(operator.ne)
    __lt__ = _asked_of_two(operator.lt)
    __le__ = _asked_of_two(operator.le)
    __gt__ = _asked_of_two(operator.gt)
    __ge__ = _asked_of_two(operator.ge)
    __sub__ = _asked_of_two(operator.sub)
    __matmul__ = _asked_of_two(operator.matmul)
    __truediv__ = _asked_of_two(operator.truediv)
    __floordiv__ = _asked_of_two(operator.floordiv)
    __mod__ = _asked_of_two(operator.mod)
    __and__ = _asked_of_two(operator.and_)
    __or__ = _asked_of_two(operator.or_)
    __xor__ = _asked_of_two(operator.xor)

    def __radd__(self, other: Any) -> Any:
        return self.program.ask(operator.add, other, self)

    def __rmul__(self, other: Any) -> Any:
        return self.program.ask(operator.mul, other, self)

    def __iter__(self) -> Any:
        if self.program.ask(hasattr, self, "__next__"):
            return self
        return iter(self.program.ask(list, self))

    def __contains__(self, value: Any) -> bool:
        return value in list(self)  # an endless object would contain any number


def _is_data(module: Any, name: str) -> bool:
    """Return whether a class is one of data, or a function makes such data."""
    if module == "builtins":
        value = getattr(builtins, name, None)
        if isinstance(value, type) and issubclass(value, Exception):
            return True
    return name in _DATA.get(module, ()) or (_is_numpy(module) and name in _NUMPY)


def _is_numpy(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "numpy"


def _pickled(kind: Any, *arguments: Any) -> bytes:
    """Return the last argument as a pickle. The other arguments are for the pickler."""
    file = BytesIO()
    kind(file, *arguments[:-1]).dump(arguments[-1])
    return file.getvalue()


def _send(stream: Any, data: bytes) -> None:
    stream.write(len(data).to_bytes(8) + data)
    stream.flush()


def _receive(stream: Any) -> BytesIO:
    """Return the next pickle.

    Raises: EOFError if the other process has ended.
    """
    size = stream.read(8)
    if len(size) < 8:
        raise EOFError
    # As a whole, because reading a pickle may ask the next question.
    return BytesIO(stream.read(int.from_bytes(size)))
