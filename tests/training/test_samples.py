"""The screen of a training: the line at the bar, prompt groups, and the tracker's table."""

import math
from collections import defaultdict, deque

import pytest

from axolotl_grpo_plugin.runlog.reader import readable
from tests.conftest import Later

samples, progress = Later("axolotl_grpo_plugin.training.samples"), Later("axolotl_grpo_plugin.training.progress")
torch = Later("torch")
FIRST = "right_reward_func"


@pytest.fixture
def logs():
    """TRL's logs of three groups of four. The first one teaches nothing."""
    right = [1.0] * 4 + [0.0, math.nan, 1.0, 0.0] + [0.0, 1.0] * 2
    return {
        "prompt": deque(f"{'word ' * 40}question {place // 4}?\nassistant\n" for place in range(12)),
        "completion": deque(f"\x1b[2Jline\n{'word ' * 40}answer {place}" for place in range(12)),
        "rewards": defaultdict(deque, {FIRST: deque(right), "layout": deque([0.5] * 12)}),
        "extra": defaultdict(deque, {f"{FIRST}/reason": deque(["a reason"] * 12), "lost": deque()}),
        "advantages": deque([0.0] * 4 + [-0.5, 0.0, 1.5, -0.5] + [-1.0, 1.0] * 2),
    }


def test_shows_the_first_group_that_teaches_the_best_completion_first(logs):
    rows = samples.group(logs, 4, [1.0, 2.0], 26)
    assert [(row["reward"], row["completion"][-1]) for row in rows] == [(2.0, "6"), (1.0, "4"), (1.0, "5"), (1.0, "7")]
    assert rows[2][FIRST] is None and "lost" not in rows[0]
    logs["advantages"] = deque([0.0] * 12)
    assert samples.group(logs, 4, [1.0, 2.0], 26)[0]["prompt"].endswith("question 0?\nassistant\n")


def test_screen_fits_100_columns_without_control_characters(logs):
    lines = list(samples.screen(samples.group(logs, 4, [1.0, 2.0], 26), FIRST))
    assert len(lines) == 4 and all(len(line) == 100 and line.isprintable() for line in lines)
    assert lines[0].startswith("step 26, prompt of 4 completions: ...") and lines[0].endswith("question 1?")
    assert lines[1].startswith("    2.00  +1.50  a reason ") and lines[1].endswith("word answer 6")


def test_says_that_all_groups_are_dead(logs):
    logs["advantages"] = deque([0.0] * 12)
    head, *_ = samples.screen(samples.group(logs, 4, [1.0, 2.0], 26), FIRST)
    assert head.startswith("step 26, all groups are dead, prompt of 4 completions: ")


def test_chats_of_trl_1_15_are_shown_as_texts(logs):
    logs["prompt"] = [[{"role": "user", "content": "1 + 1?"}]] * 12
    logs["completion"] = [[{"role": "assistant", "content": "It is 2"}]] * 12
    head, best, *_ = samples.screen(samples.group(logs, 4, [1.0, 2.0], 26), FIRST)
    assert head.endswith(": user: 1 + 1?") and best.endswith("  It is 2")


def test_readable_text_is_cut_and_has_no_control_characters():
    assert readable("\x1b[2Ja\x9bb\tc\n", 100) == "\ufffd[2Ja\ufffdb\tc\n"
    assert readable("abcdef", 3) == "abc [...]"


@pytest.mark.parametrize(
    "logs, line",
    [
        (
            {f"reward_right/{FIRST}": 0.5, "num_tokens": 9.0},
            "reward 1.25 right 50% dead 25% truncated 0% 1.5k tokens/s",
        ),
        ({f"rewards/{FIRST}/mean": -0.5}, "reward 1.25 right -0.50 dead 25% truncated 0% 1.5k tokens/s"),
    ],
)
def test_line_at_the_bar_has_the_numbers_to_watch(logs, line):
    logs = {"reward": 1.25, "frac_reward_zero_std": 0.25, "completions/clipped_ratio": 0.0, **logs}
    assert progress.numbers(logs, FIRST, 1523.0) == line
