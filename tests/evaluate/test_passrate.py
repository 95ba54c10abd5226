import pytest

from axolotl_grpo_plugin.evaluate.passrate import Rate, annotated, logged_answers, rated_by_prompt, rates_of
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import write

REWARD = LoggedReward("r", (0.0, 2.0))
ROWS = [({"q": f"{number}+1?"}, {"prompt": f"{number}?", "answer": str(number + 1)}) for number in range(4)]


def answer(row, score, tokens=10):
    return row, {"completion_tokens": tokens, "reward/r": score}


def test_rate_is_the_share_of_right_answers():
    answers = [answer(0, 2.0), answer(0, 0.5, 20), answer(0, None), answer(1, 2.0)]
    assert rates_of(answers, REWARD) == {0: Rate(0.5, 2, 15), 1: Rate(1.0, 1, 10)}


@pytest.mark.parametrize(
    "rate, band",
    [
        (0.0, "impossible"),
        (0.01, "very hard"),
        (0.2, "hard"),
        (0.4, "medium"),
        (0.6, "easy"),
        (0.8, "very easy"),
        (0.99, "very easy"),
        (1.0, "perfect"),
    ],
)
def test_bands_are_those_of_reasoning360(rate, band):
    assert Rate(rate, 8, 0.0).band == band


def test_rows_keep_their_own_columns():
    row = {"q": "0+1?", "pass_rate": 0.5, "n": 8, "mean_tokens": 12.0, "band": "medium"}
    assert annotated([({"q": "0+1?"}, Rate(0.5, 8, 12.0))]) == [row]


def test_rows_of_different_datasets_have_the_same_columns():
    rate = Rate(0.5, 8, 1.0)
    first, second = annotated([({"q": "0+1?"}, rate), ({"q": "1+1?", "level": 3}, rate)])
    assert first.keys() == second.keys() and (first["level"], second["level"]) == (None, 3)


def log(folder, **columns):
    count = len(columns["prompt"])
    shared = {"attempt": 1, "step": 1, "rank": 0, "mode": "train", "completion_tokens": 7}
    write(folder, 0, {**{key: [value] * count for key, value in shared.items()}, **columns})
    return rollout_files(folder)


def test_rates_of_a_rollout_log_are_found_by_prompt(tmp_path):
    prompts = ["0?", "0?", "0?", "1?", "a prompt of another dataset"]
    errors = [None, None, "boom", None, None]  # a failed score is in the log as the mean of its group
    files = log(tmp_path, prompt=prompts, **{"reward/r": [2.0, 0.0, 2.0, None, 2.0], "error/r": errors})
    rates = rates_of(logged_answers(files, REWARD), REWARD)
    assert rated_by_prompt(ROWS, rates) == [({"q": "0+1?"}, Rate(0.5, 2, 7))]
