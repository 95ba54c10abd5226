"""Modules are imported only when they are needed. Every Axolotl command imports the package."""

import pytest

from tests.conftest import program

TRAINER = {"torch", "axolotl", "transformers", "datasets", "trl"}
HEAVY = {*TRAINER, "matplotlib", "pydantic", "pyarrow"}
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"


@pytest.mark.parametrize(
    "code, heavy",
    [
        ("import axolotl_grpo_plugin", HEAVY),
        ("import axolotl_grpo_plugin.cli", HEAVY),  # `axolotl --help` does this
        ("from axolotl_grpo_plugin import gsm8k", HEAVY - {"pyarrow"}),
        ("from axolotl_grpo_plugin.cli import grpo; grpo(['rewards'], standalone_mode=False)", TRAINER),
        (
            "from axolotl_grpo_plugin.cli import grpo\n"
            f"grpo(['score', 'a.jsonl', '--reward', '{CORRECT}'], standalone_mode=False)",
            HEAVY,
        ),
        ("import axolotl_grpo_plugin.commands.check", {"math_verify"}),
        (
            "from axolotl_grpo_plugin.rewards.judge import judge; judge('m', 'http://127.0.0.1:9/v1')",
            {*HEAVY, "openai", "httpx"},
        ),
    ],
)
def test_imports_nothing_heavy(code, heavy, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"completion": "<answer>18</answer>", "answer": "18"}')
    script = f"import atexit, sys; atexit.register(lambda: print(*sys.modules))\n{code}"
    loaded = set(program(script, cwd=tmp_path).split())
    assert "axolotl_grpo_plugin" in loaded and not heavy & loaded


def test_unknown_name_is_an_attribute_error():
    import axolotl_grpo_plugin

    with pytest.raises(AttributeError, match="'axolotl_grpo_plugin' has no attribute 'gsm9k'"):
        axolotl_grpo_plugin.gsm9k  # noqa: B018
    assert "gsm8k" in dir(axolotl_grpo_plugin)
