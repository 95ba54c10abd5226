"""Python programs in the sandbox (sandbox/)."""

from axolotl_grpo_plugin.sandbox import Limits, Sandbox

_SCRIPT = """
import ast, sys

def main(code, channel):
    try:
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        names = {"__name__": "__main__"}
        exec(compile(tree, "program.py", "exec"), names)
        value = last and eval(compile(ast.Expression(last.value), "program.py", "eval"), names)
        if value is not None:
            print(repr(value))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


class python:
    """Runs a program per call, without network and without state from earlier calls.

    Args:
        seconds: the program's own time. Set it below `seconds` in grpo_tool_limits.
        memory: MiB that it may use.
        allow_unsafe: if no sandbox works here, run programs in plain processes.
    """

    def __init__(self, seconds: float = 5.0, memory: int = 1024, allow_unsafe: bool = False):
        self._sandbox = Sandbox(
            _SCRIPT,
            Limits(seconds=seconds, memory=memory << 20, output=1 << 20),
            allow_unsafe=allow_unsafe,
        )

    def __call__(self, code: str) -> str:
        """
        Run a Python program.

        Args:
            code: The program. Print results, or end the program with an expression.

        Returns:
            The printed text and the last expression's value.
        """
        ended = self._sandbox.run(code)
        if ended.late:
            raise TimeoutError(f"the program took more than {self._sandbox.limits.seconds:g} s")
        if ended.flood:
            raise ValueError("the program printed too much")
        errors = ended.stderr.strip().splitlines()[-1:] if ended.exit else []
        return "\n".join([ended.stdout.strip(), *errors]).strip() or "(no output)"
