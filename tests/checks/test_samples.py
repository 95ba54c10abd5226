import json
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.checks import samples as checks
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.stats import tokenizer
from axolotl_grpo_plugin.stats.rows import Source

GSM8K = "axolotl_grpo_plugin.gsm8k"
OURS = "axolotl_grpo_plugin.rewards.gsm8k"
ROWS = [
    {"question": f"{n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(1, 7)
]


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """transformers is not imported for its TrainerState."""
    monkeypatch.setattr(
        checks, "_state", lambda steps: SimpleNamespace(global_step=0, max_steps=steps)
    )


@pytest.fixture
def rows(tmp_path):
    """The samples of rows that stand in a file."""

    def read(rows=ROWS, offline=False, **entry):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        entry = {"path": str(file), "ds_type": "json", "type": GSM8K, **entry}
        cfg = dict_of(datasets=[entry])
        return checks.samples(cfg, Source("datasets", 0, entry["path"], entry), offline)

    return read


def dict_of(**cfg):
    from axolotl.utils.dict import DictDefault  # light

    return DictDefault({"base_model": "nowhere", **cfg})


@pytest.fixture
def judged(rows, tmp_path, monkeypatch):
    """What is found of a reward function of one's own, written as code."""
    monkeypatch.syspath_prepend(tmp_path)
    numbers = iter(range(100))

    def judge(code, rewards=("reward",)):
        name = f"own_{tmp_path.name}_{next(numbers)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(code)
        return on(rows(), *(f"{name}.{each}" for each in rewards))

    return judge


def on(found, *rewards):
    cfg = {"trl": {"reward_funcs": list(rewards)}}
    return [(each.level, str(each)) for each in checks.check_samples(cfg, found)]


def test_accepts_gsm8k_and_its_rewards(rows):
    found = rows()
    assert [sample.row["answer"] for sample in found] == ["2", "3"]
    assert found[0].gold == "<reasoning>\n1 + 1 = 2\n</reasoning>\n<answer>\n2\n</answer>"
    names = "correctness int strict_format soft_format xmlcount".split()
    assert not on(found, *(f"{OURS}.{name}_reward_func" for name in names))


def test_reports_rows_of_another_dataset(rows):
    found = rows([{"text": "a"}])
    assert isinstance(found, Finding)
    assert 'no column "question"' in found.what
    assert "Traceback" in found.detail
    assert 'no column "prompt"' in rows([{"text": "a"}], type=None).what
    assert "no such file" in rows(path="nowhere.jsonl").what


def test_hub_dataset_is_skipped_offline(rows, monkeypatch):
    from axolotl_grpo_plugin.stats.rows import Unreadable

    def fails(*_):
        raise Unreadable("there", "cannot be loaded", "Look")
        yield

    monkeypatch.setattr(checks, "read", fails)
    assert rows(path="openai/gsm8k").level == "error"
    assert rows(path="openai/gsm8k", offline=True).level == "skipped"


SIGNATURE = "def reward(prompts, completions, **columns):\n    "


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return [1.0]", "returned 1 scores for 16 completions"),
        ("return None", "returned None, not a list"),
        ("return ['1'] * len(completions)", "returned '1', not a number"),
        ("return [float('inf')] * len(completions)", "returned infinity"),
        ("raise KeyError('nope')", "raised KeyError: 'nope'"),
        ("return [0.0 for c in completions if 'x' in c.lower()]", "raised AttributeError"),
    ],
)
def test_reports_scores_that_trl_cannot_use(judged, body, words):
    ((level, line),) = judged(SIGNATURE + body)
    assert level == "error"
    assert words in line


def test_traceback_starts_in_the_reward(judged):
    ((_, line),) = judged(SIGNATURE + "return [0.0 / 0 for _ in completions]")
    assert "ZeroDivisionError" in line
    assert "0.0 / 0" in line


def test_reports_a_missing_column(judged):
    ((level, line),) = judged(
        "from axolotl_grpo_plugin.reward import reward\n"
        "@reward(range=(0, 1), reads='solution')\n"
        "def reward(completion, solution):\n    return 0.0\n"
    )
    assert level == "error"
    assert (
        'reads "solution", which the rows lack (they have: question, answer, prompt, data_source)'
        in line
    )
    ((level, line),) = judged("def reward(prompts, completions, solution, **_):\n    return [0.0]")
    assert "missing 1 required positional argument: 'solution'" in line


def test_reports_a_reward_for_nothing(judged):
    ((level, line), *_) = judged(SIGNATURE + "return [0.5] * len(completions)")
    assert level == "warning"
    assert "an empty completion earns 0.5" in line
    echo = SIGNATURE + "return [float('<answer>' in c[0]['content']) for c in completions]"
    ((level, line),) = judged(echo)
    assert "the prompt, repeated as the completion, earns 1" in line


def test_reports_a_layout_that_the_prompt_does_not_ask_for(judged):
    boxed = SIGNATURE + r"return [float('\\boxed' in c[0]['content']) for c in completions]"
    ((level, line),) = judged(boxed)
    assert level == "warning"
    assert "the right answer, in the layout that the prompt asks for, earns 0" in line
    ((level, line),) = judged(
        "from axolotl_grpo_plugin.reward import reward\n"
        "@reward(range=(0.0, 1.0), reads='answer')\n"
        "def reward(completion, answer):\n    return 0.5 * (answer in completion)\n"
    )
    assert level == "error"
    assert "the right answer earns 0.5 of 1" in line


def test_rewards_get_whole_groups(judged):
    groups = "sorted(prompts, key=str) == prompts and prompts[:8] == [prompts[0]] * 8"
    found = judged(SIGNATURE + f"assert {groups}\n    return [0.0] * len(prompts)")
    assert "error" not in dict(found)


def test_rewards_get_the_trainer_state(judged):
    curriculum = "columns['trainer_state'].global_step / columns['trainer_state'].max_steps"
    assert "error" not in dict(judged(SIGNATURE + f"return [{curriculum}] * len(prompts)"))


def test_transform_gets_axolotls_tokenizer(rows, tmp_path, monkeypatch):
    real = SimpleNamespace(eos_token="</s>")
    opened = SimpleNamespace(folder=tmp_path)
    monkeypatch.setattr(tokenizer, "open_tokenizer", lambda cfg: opened)
    monkeypatch.setattr(tokenizer, "AxolotlTokenizer", lambda *_: SimpleNamespace(real=real))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ends.py").write_text(
        "def end(cfg, **_):\n    return lambda row, tokenizer=None: {'prompt': row['question'] + tokenizer.eos_token}\n"
    )
    assert [sample.row["prompt"] for sample in rows(type="ends.end")] == [
        "1 + 1?</s>",
        "2 + 1?</s>",
    ]


def test_accepts_rewards(judged):
    assert not judged("async def reward(completions, **_):\n    return [None] * len(completions)")
    assert not judged(SIGNATURE + "return [-0.1 * len(c[0]['content']) for c in completions]")[1:]
    nan = SIGNATURE + "return [float('nan') if not c[0]['content'] else 0.0 for c in completions]"
    assert not [level for level, _ in judged(nan) if level == "error"]


def test_length_reward_need_not_pay_a_right_answer_in_full(rows, monkeypatch):
    shaping, correct = "axolotl_grpo_plugin.rewards.shaping", f"{OURS}.correctness_reward_func"
    overlong = "trl.rewards.get_soft_overlong_punishment"
    arguments = {
        f"{shaping}.cosine_length": {"by": correct, "max_len": 99},
        f"{shaping}.kimi_length": {"by": correct},
        overlong: {"max_completion_len": 99, "soft_punish_cache": 9},
    }
    cfg = {"trl": {"reward_funcs": list(arguments)}, "grpo_reward_args": arguments}
    assert not list(checks.check_samples(cfg, rows()))


def test_own_system_prompt_may_ask_for_any_layout(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    entry = {"path": str(file), "ds_type": "json", "type": GSM8K}
    cfg = dict_of(datasets=[entry], grpo_system_prompt="Answer after ####.")
    found = checks.samples(cfg, Source("datasets", 0, str(file), entry), False)
    assert not on(found, "axolotl_grpo_plugin.rewards.format.hash_correctness_reward_func")


def test_routed_answer_need_not_earn_another_tasks_maximum(rows):
    key = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
    right, integer = f"{OURS}.correctness_reward_func", f"{OURS}.int_reward_func"
    routes = {"openai/gsm8k": right, "more": {"reward": right, "weight": 9}}
    cfg = {"trl": {"reward_funcs": [key]}, "grpo_reward_args": {key: {"routes": routes}}}
    assert not list(checks.check_samples(cfg, rows()))
    routes["openai/gsm8k"] = {"reward": integer, "weight": 0.0}
    (finding,) = checks.check_samples(cfg, rows())
    assert finding.level == "warning" and "earns 0" in finding.what
