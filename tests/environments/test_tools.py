"""The shipped tools: calculator and python."""

import pytest

from axolotl_grpo_plugin.environments.tools import calculator, python


@pytest.mark.parametrize(
    "expression, value",
    [
        ("2 + 3 * 4", "14"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "1/3 (about 0.3333333333)"),
        ("1,234 × 2", "2468"),
        ("2^10 - (-3) ** 3", "1051"),
        ("7 // 2 + 7 % 4", "6"),
        ("-(1/8)", "-0.125"),
    ],
)
def test_calculator_is_exact(expression, value):
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression", ["__import__('os').getcwd()", "x + 1", "9**9**9", "2 ** 0.5", "1 +", "'a' * 9", "True", ""]
)
def test_calculator_refuses_all_but_arithmetic(expression):
    with pytest.raises(ValueError):
        calculator(expression)


def test_python_returns_the_output_and_the_last_value():
    run = python(seconds=0.5, allow_unsafe=True)
    assert run("x = 6\nprint('six')\nx * 7") == "six\n42"
    assert run("x") == "NameError: name 'x' is not defined"  # no state from before
    assert run("pass") == "(no output)"
    assert run("import sys\nsys.exit('bye')") == "bye"
    with pytest.raises(TimeoutError, match=r"took more than 0\.5 s"):
        run("while True: pass")
