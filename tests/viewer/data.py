"""A small run with hostile texts, and one with a planted hack."""

import json

import yaml

from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import as_text, save, write
from axolotl_grpo_plugin.training.record import HELD_OUT

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\u202edlrow olleh \u05e9\u05dc\u05d5\u05dd <!-- ]]> {{SCRIPT}} ${1} ` &lt;b&gt; \x1b[2J\x00",
    "x" * 1_000_000,
    '[{"role": "assistant", "tool_calls": 5}, null]',
]
CHAT = [
    {"role": "assistant", "content": "I ask", "tool_calls": [{"function": {"name": "add", "arguments": "<b>2</b>"}}]},
    {"role": "tool", "name": "add", "content": "<script>window.hacked = 1</script>"},
    {"role": "assistant", "content": "The answer is 4"},
]
FIRST = "correctness_reward_func"
RANGES = {FIRST: [0.0, 2.0], "layout": [0.0, 0.5]}


def write_step(folder, step, rows, attempt=1, **more):
    """Write a step of rows: (prompt, completion, right, format)."""
    prompts, texts, rights, layouts = map(list, zip(*rows, strict=True))
    texts = list(map(as_text, texts))
    rewards = [2.0 * right + layout for right, layout in zip(rights, layouts, strict=True)]
    columns = same(
        len(rows),
        {"attempt": attempt, "step": step, "rank": 0, "mode": "train", "column/answer": "4", f"read/{FIRST}": "4"},
    )
    columns |= {
        "prompt": prompts,
        "completion": texts,
        "completion_tokens": [len(text) // 4 for text in texts],
        "truncated": [place == 1 for place in range(len(rows))],
        "column/source": [prompt[:1] for prompt in prompts],
        f"reward/{FIRST}": [2.0 * right for right in rights],
        "reward/layout": layouts,
        f"reason/{FIRST}": ["correct" if right else "wrong_value" for right in rights],
        "reason/layout": ["exact" if layout else "other" for layout in layouts],
        "error/layout": ["Error: </pre><script>window.hacked = 1</script>", *[None] * (len(rows) - 1)],
        "reward": rewards,
        "advantage": [reward - 1.5 for reward in rewards],
        **more,
    }
    write(folder / "rollouts", step, columns, rewards_of(RANGES))


def same(rows, values):
    """Return columns with the same value in each row."""
    return {name: [value] * rows for name, value in values.items()}


def write_run(folder, steps=6):
    """Write a run with a chat, hostile texts, held-out answers and an evaluation."""
    for step in range(1, steps + 1):
        texts = [*HOSTILE, CHAT, f"it is {step}, the answer is 4"]
        rows = [
            ("a </script><script>window.hacked=1</script> 2 + 2?", text, n % 2, 0.5) for n, text in enumerate(texts)
        ]
        rows += [(f"b{step}: 2 + 2?", "needle 4" if step == 3 else "4", step > 3, 0.5)] * 2
        write_step(folder, step, rows, advantage=[0.5, -0.5] * 4 + [0.0] * 2)  # the second group is dead
    write_held_out(folder, [0.0, 2.0, 0.0, 0.0], [2.0, 0.0, 2.0, 2.0], RANGES)
    write_facts(folder, {"base_model": "</script><b>model", "trl": {"reward_funcs": [FIRST]}})
    return folder


def write_facts(folder, config):
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps({"Command": "axolotl-grpo train </title>"}))


def write_held_out(folder, before, after, ranges):
    """Write greedy answers to held-out rows, with a score of the first reward for each row."""
    first, *others = ranges
    rows = [*range(len(before)), *range(len(after))]
    values = {"step": 0, "mode": "greedy", "dataset": "held-out rows", "sample": 0, "column/answer": "4"}
    columns = same(len(rows), values | {f"reward/{name}": None for name in others})
    columns |= {
        "model": ["before"] * len(before) + ["after"] * len(after),
        "row": rows,
        "prompt": [f"held {row}" for row in rows],
        "completion": [HOSTILE[row % 3] for row in rows],
        f"reward/{first}": [*before, *after],
    }
    save(folder / HELD_OUT, columns, rewards_of(ranges))
    return folder / HELD_OUT


def write_eval(folder, models=("base", "final")):
    """Write answers to two rows, with their scores."""
    rows = {
        "step": [0, 0, 3, 3],
        "model": [model for model in models for _ in (0, 1)],
        "mode": ["greedy"] * 4,
        "dataset": ["gsm8k"] * 4,
        "row": [0, 1, 0, 1],
        "sample": [0] * 4,
        "prompt": ["e0", "e1"] * 2,
        "completion": ["3", "4", "4", "4"],
        "column/answer": ["4"] * 4,
        f"reward/{FIRST}": [0.0, 2.0, 2.0, 2.0],
        f"reason/{FIRST}": ["wrong", "correct", "correct", "correct"],
    }
    save(folder / "eval/scores.parquet", rows, rewards_of(RANGES))
