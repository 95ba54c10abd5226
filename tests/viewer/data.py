"""A small run with hostile texts, and one with a planted hack."""

import json

import yaml

from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import as_text, save, write

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
    columns = {
        "attempt": [attempt] * len(rows),
        "step": [step] * len(rows),
        "rank": [0] * len(rows),
        "mode": ["train"] * len(rows),
        "prompt": [row[0] for row in rows],
        "completion": [as_text(row[1]) for row in rows],
        "completion_tokens": [len(as_text(row[1])) // 4 for row in rows],
        "truncated": [number == 1 for number, _ in enumerate(rows)],
        "column/answer": ["4"] * len(rows),
        "column/source": [row[0][:1] for row in rows],
        f"reward/{FIRST}": [2.0 * row[2] for row in rows],
        "reward/layout": [row[3] for row in rows],
        f"reason/{FIRST}": ["correct" if row[2] else "wrong_value" for row in rows],
        "reason/layout": ["exact" if row[3] else "other" for row in rows],
        "error/layout": ["Error: </pre><script>window.hacked = 1</script>", *[None] * (len(rows) - 1)],
        f"read/{FIRST}": ["4" for row in rows],
        "reward": [2.0 * row[2] + row[3] for row in rows],
        "advantage": [2.0 * row[2] + row[3] - 1.5 for row in rows],
        **more,
    }
    write(folder / "rollouts", step, columns, rewards_of(RANGES))


def write_run(folder, steps=6):
    """Write a run with a chat, hostile texts, held-out answers and an evaluation."""
    for step in range(1, steps + 1):
        texts = [*HOSTILE, CHAT, f"it is {step}, the answer is 4"]
        rows = [
            ("a </script><script>window.hacked=1</script> 2 + 2?", text, n % 2, 0.5) for n, text in enumerate(texts)
        ]
        rows += [(f"b{step}: 2 + 2?", "needle 4" if step == 3 else "4", step > 3, 0.5)] * 2
        write_step(folder, step, rows)
    lines = []
    for when in ("before", "after"):
        for row in range(4):
            right = row == 1 if when == "before" else row != 1
            lines.append(
                {
                    "when": when,
                    "mode": "greedy",
                    "row": row,
                    "prompt": f"held {row}",
                    "answer": "4",
                    "completion": HOSTILE[row % 3] + "\ud800",
                    "rewards": {FIRST: 2.0 * right, "layout": None},
                    "reward_ranges": RANGES,
                }
            )
    (folder / "held_out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = yaml.safe_dump({"base_model": "</script><b>model", "trl": {"reward_funcs": [FIRST]}})
    (folder / "run.yaml").write_text(f"# Command:  axolotl grpo train </title>\n{config}")
    state = {"log_history": [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]}
    (folder / "checkpoint-3").mkdir(parents=True)
    (folder / "checkpoint-3/trainer_state.json").write_text(json.dumps(state))
    return folder


def write_eval(folder, models=("base", "final")):
    """Write answers to two rows, with their scores."""
    keys = [f"{model} {row}" for model in models for row in (0, 1)]
    rows = {
        "key": keys,
        "step": [0, 0, 3, 3],
        "model": [key.split()[0] for key in keys],
        "mode": ["greedy"] * 4,
        "dataset": ["gsm8k"] * 4,
        "row": [0, 1, 0, 1],
        "sample": [0] * 4,
        "prompt": ["e0", "e1"] * 2,
        "completion": ["3", "4", "4", "4"],
        "column/answer": ["4"] * 4,
    }
    save(folder / "eval/answers/a.parquet", rows)
    scores = {
        "key": keys,
        f"reward/{FIRST}": [0.0, 2.0, 2.0, 2.0],
        f"reason/{FIRST}": ["wrong", "correct", "correct", "correct"],
    }
    save(folder / "eval/scores.parquet", scores, rewards_of(RANGES))
