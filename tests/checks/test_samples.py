from itertools import count

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Source
from axolotl_grpo_plugin.findings import Finding
from tests.checks.found import levels
from tests.conftest import MODEL, Later, write_rows

checks = Later("axolotl_grpo_plugin.checks.samples")
scoring = Later("axolotl_grpo_plugin.trying.samples")

GSM8K = "axolotl_grpo_plugin.gsm8k"
OURS = "axolotl_grpo_plugin.rewards.gsm8k"
CORRECT = f"{OURS}.correctness_reward_func"
SIGNATURE = "def reward(prompts, completions, **columns):\n    "
ROWS = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(1, 7)]
NUMBERS = count()


@pytest.fixture
def rows(tmp_path):
    """Write a dataset and return its samples."""

    def read(rows=ROWS, offline=False, keys=None, **entry):
        file = write_rows(tmp_path / "rows.jsonl", rows)
        entry = {"path": str(file), "ds_type": "json", "type": GSM8K, **entry}
        cfg = Later("axolotl.utils.dict").DictDefault({"base_model": "nowhere", "datasets": [entry], **(keys or {})})
        return scoring.samples(Config(cfg), Source("datasets", 0, entry["path"], entry), offline)

    return read


@pytest.fixture
def check_code(rows, tmp_path, monkeypatch):
    """Return the findings on a user's reward function, given as its body or as a module."""
    monkeypatch.syspath_prepend(tmp_path)

    def check(code):
        name = f"own_sampled_{next(NUMBERS)}"
        body_only = "def reward" not in code
        (tmp_path / f"{name}.py").write_text(SIGNATURE * body_only + code)
        return findings(rows(), {f"{name}.reward": {}})

    return check


def findings(samples, rewards):
    """rewards: their paths and arguments."""
    cfg = {"trl": {"reward_funcs": list(rewards)}, "grpo_reward_args": rewards}
    return list(checks.check_samples(Config(cfg), samples))


def test_reports_a_reward_without_any_score(check_code):
    assert levels(check_code("return [None] * len(completions)")) == [("warning", "no-scores")]


def test_accepts_gsm8k_and_its_rewards(rows):
    samples = rows()
    assert [sample.row["answer"] for sample in samples] == ["2", "3"]
    assert samples[0].gold == "<reasoning>\n1 + 1 = 2\n</reasoning>\n<answer>\n2\n</answer>"
    names = "correctness int strict_format soft_format xmlcount".split()
    assert not findings(samples, {f"{OURS}.{name}_reward_func": {} for name in names})


def test_reports_rows_of_another_dataset(rows):
    found = rows([{"text": "a"}])
    assert isinstance(found, Finding)
    assert 'no column "question"' in found.what
    assert found.fix.startswith("Set type: axolotl_grpo_plugin.qa and grpo_columns:")
    assert 'no column "prompt"' in rows([{"text": "a"}], type=None).what
    assert "no such file" in rows(path="nowhere.jsonl").what


OF_SOLUTION = """
from axolotl_grpo_plugin.reward import reward
@reward(range=(0, 1), reads='solution')
def reward(completion, solution):
    return 0.0
"""
HALF = """
from axolotl_grpo_plugin.reward import reward
@reward(range=(0.0, 1.0), reads='answer')
def reward(completion, answer):
    return 0.5 * (answer in completion)
"""
TWO_GROUPS = "assert sorted(prompts, key=str) == prompts and prompts[:8] == [prompts[0]] * 8\n"


@pytest.mark.parametrize(
    "code, level, words",
    [
        ("return [1.0]", "error", "returned 1 scores for 16 completions"),
        ("return None", "error", "returned None, which is not a list"),
        ("raise KeyError('nope')", "error", "raised KeyError: 'nope'"),
        ("return [0.0 for c in completions if 'x' in c.lower()]", "error", "raised AttributeError"),
        ("return [0.0 / 0 for _ in completions]", "error", "return [0.0 / 0 for"),
        (
            OF_SOLUTION,
            "error",
            'reads "solution", which the rows lack (they have: question, answer, prompt, data_source)',
        ),
        (
            "def reward(prompts, completions, solution, **_):\n    return [0.0]",
            "error",
            'reads "solution", which the rows lack',
        ),
        ("return [0.5] * len(completions)", "warning", "an empty completion earns 0.5"),
        (
            "return [float('<answer>' in c[0]['content']) for c in completions]",
            "warning",
            "the prompt, repeated as the completion, earns 1",
        ),
        (
            r"return [float('\\boxed' in c[0]['content']) for c in completions]",
            "warning",
            "in the layout that the prompt asks for, earns 0",
        ),
        (HALF, "error", "earns 0.5, but the maximum is 1"),
    ],
)
def test_reports_a_reward_that_cannot_work(check_code, code, level, words):
    finding = check_code(code)[0]
    assert finding.level == level and words in str(finding)


@pytest.mark.parametrize("code", ["return [0.0] * len(completions)", "return [1.0] * len(completions)"])
def test_says_that_a_constant_reward_pays_a_right_answer_as_much_as_nothing(check_code, code):
    finding = check_code(code)[-1]
    assert finding.code == "unpaid-gold"
    assert finding.what.endswith(", as much as an empty completion")
    assert "compare text with text" in finding.fix


@pytest.mark.parametrize(
    "code",
    [
        "async def reward(completions, **_):\n    return [None] * len(completions)",
        "return [-0.1 * len(c[0]['content']) for c in completions]",
        TWO_GROUPS + "    return [0.0] * len(prompts)",
        "return [columns['trainer_state'].global_step / 9] * len(prompts)",
    ],
)
def test_accepts_rewards_without_error(check_code, code):
    assert "error" not in dict(levels(check_code(code)))


def test_transform_gets_axolotls_tokenizer(rows, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ends.py").write_text(
        "def end(cfg, **_):\n    return lambda row, tokenizer=None: {'prompt': row['question'] + tokenizer.eos_token}\n"
    )
    prompts = [sample.row["prompt"] for sample in rows(type="ends.end", keys={"base_model": str(MODEL)})]
    assert prompts == ["1 + 1?<|im_end|>", "2 + 1?<|im_end|>"]


HASHES = "axolotl_grpo_plugin.rewards.format.hash_correctness_reward_func"


@pytest.mark.parametrize(
    "rewards", [{CORRECT: {}, f"{OURS}.xmlcount_reward_func": {}}, {HASHES: {}}, {HASHES: {"prefilled": True}}]
)
def test_unknown_layout_is_tried_in_all_known_ones(rows, rewards):
    assert not findings(rows(keys={"grpo_system_prompt": "Answer."}), rewards)


def test_reports_a_reward_that_pays_no_layout(rows, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_as_number.py").write_text(
        "def reward(completions, answer, **_):\n"
        "    return [float(c == a) for c, a in zip(completions, answer)]\n"
        "def of_two(completions, left, right, **_):\n"
        "    return [0.0] * len(completions)\n"
    )
    own = [{"prompt": "2?", "answer": 2, "left": 1, "right": 1}]
    cfg = {"trl": {"reward_funcs": ["own_as_number.reward", "own_as_number.of_two"]}}
    assert levels(checks.check_samples(Config(cfg), rows(own, type=None))) == [("warning", "unpaid-gold")]


def test_length_reward_need_not_pay_a_right_answer_in_full(rows):
    shaping = "axolotl_grpo_plugin.rewards.shaping"
    rewards = {
        f"{shaping}.cosine_length": {"by": CORRECT, "max_len": 99},
        f"{shaping}.kimi_length": {"by": CORRECT},
        "trl.rewards.get_soft_overlong_punishment": {"max_completion_len": 99, "soft_punish_cache": 9},
    }
    assert not findings(rows(), rewards)


def test_routed_answer_need_not_earn_another_tasks_maximum(rows):
    routes = {"openai/gsm8k": CORRECT, "more": {"reward": CORRECT, "weight": 9}}
    rewards = {"axolotl_grpo_plugin.rewards.dispatch.dispatch": {"routes": routes}}
    assert not findings(rows(), rewards)
    routes["openai/gsm8k"] = {"reward": f"{OURS}.int_reward_func", "weight": 0.0}
    assert levels(findings(rows(), rewards)) == [("warning", "unpaid-gold")]


def test_gold_scores_take_the_layout_that_earns_the_most(rows):
    cfg = {"trl": {"reward_funcs": [CORRECT, HASHES]}}
    assert scoring.gold_scores(Config(cfg), rows()[0])[1] == {CORRECT: 2.0, HASHES: 0.0}
    unknown = rows(keys={"grpo_system_prompt": "Answer."})[0]
    answer, earned = scoring.gold_scores(Config({"trl": {"reward_funcs": [HASHES]}}), unknown)
    assert answer.endswith("#### 2") and earned == {HASHES: 1.0}
    unknown.row.pop("answer")
    cfg = {"trl": {"reward_funcs": [f"{OURS}.xmlcount_reward_func"]}}
    assert scoring.gold_scores(Config(cfg), unknown) == ("", {})


DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer "
    "(without quotes) where $Answer is the answer to the problem.\n\n{}\n\nRemember to put your answer on its own line "
    'after "Answer:".'
)
SIMPLE_EVALS = (
    "The last line of your response should be of the following format: 'Answer: $LETTER' (without quotes).\n\n{}"
)
MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
EXACT = "axolotl_grpo_plugin.rewards.puzzles.exact_reward_func"
HASH = "axolotl_grpo_plugin.rewards.format.hash_correctness_reward_func"
DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"


@pytest.mark.parametrize(
    "prompt, layouts",
    [
        (DAPO, ["Answer:"]),
        (SIMPLE_EVALS, ["Answer:"]),
        ("{}\nEnd with **Answer:** <number>", ["Answer:"]),
        ("{} Put the answer in \\boxed{{}}.", [r"\boxed{}"]),
        ("{} Write it in <answer></answer>.", ["<answer>", "<think>", "</think>"]),
        ("{}\nEnd with #### and the number.", ["####", "<think> ####"]),
        ("{}", []),
        ("Question: {}\nAnswer: it is a riddle", []),
    ],
)
def test_layout_that_a_prompt_asks_for(prompt, layouts):
    assert scoring.demanded([prompt.format("1 + 1?")]) == layouts


def asked(prompt, **columns):
    return scoring.Sample({"prompt": [{"role": "user", "content": prompt.format("1 + 1?")}], **columns}, None)


@pytest.mark.parametrize(
    "prompt, reward, columns, found",
    [
        (DAPO, MATH, {"solution": "2"}, []),
        (DAPO, EXACT, {"solution": "2"}, []),
        (DAPO, DISPATCH, {"data_source": "math_dapo", "ground_truth": "2"}, []),
        (DAPO, HASH, {"answer": "2"}, [("error", "other-layout")]),
        (DAPO, CORRECT, {"answer": "2"}, [("error", "other-layout")]),
        ("{} Put the answer in \\boxed{{}}.", CORRECT, {"answer": "2"}, [("error", "other-layout")]),
        ("{} Put the answer in \\boxed{{}}.", MATH, {"solution": "2"}, []),
        ("{}\nEnd with #### and the number.", HASH, {"answer": "2"}, []),
        ("{}\nEnd with #### and the number.", CORRECT, {"answer": "2"}, [("error", "other-layout")]),
        ("{} Write it in <answer></answer>.", CORRECT, {"answer": "2"}, []),
        ("{} Write it in <answer></answer>.", HASH, {"answer": "2"}, [("error", "other-layout")]),
        ("{}", CORRECT, {"answer": "2"}, []),
    ],
)
def test_gold_answer_in_the_layout_of_the_prompt_must_be_paid(prompt, reward, columns, found):
    assert levels(findings([asked(prompt, **columns)], {reward: {}})) == found
