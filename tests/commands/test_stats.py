import json
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import MODEL, ROOT, invoke, program

QUICKSTART = ROOT / "configs" / "quickstart.yaml"
TRAIN = MODEL.parent / "train.jsonl"


stats = partial(invoke, "stats")


def config(tmp_path, old="", new=""):
    text = QUICKSTART.read_text()
    assert old in text
    file = tmp_path / "config.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


def test_report_shows_distribution_budget_and_verdict():
    shown = " ".join(stats(QUICKSTART).stdout.split())
    for part in (
        "all prompts 1,152 44 46 48 48 48 48 48",
        "trl: max_completion_length: 32 sequence_len: 96",
        "datasets[0] (pkg://axolotl_grpo_plugin/quickstart/train.jsonl), split train, axolotl_grpo_plugin.gsm8k, n = 918",
        "OK the YAML's lengths suffice",
    ):
        assert part in shown


def test_json_has_counts_budget_and_findings():
    made = json.loads(stats(QUICKSTART, "--json").stdout)
    assert made["counted_by"] == "tokenizers, jinja2"
    assert made["prompts"]["counts"] == {"44": 192, "45": 192, "46": 192, "47": 384, "48": 192}
    assert made["budget"]["set"] == {"trl.max_completion_length": 32, "sequence_len": 96}
    assert made["problems"] == [] and made["findings"] == []


def test_counts_a_dataset_without_a_config():
    named = ("--data", TRAIN, "--tokenizer", MODEL, "--transform", "axolotl_grpo_plugin.gsm8k")
    made = json.loads(stats(*named, "--json").stdout)
    assert made["prompts"]["rows"] == 918
    assert made["budget"]["completion"] == 512
    assert "vllm.max_model_len" in made["budget"]["set"]


def test_reports_a_missing_tokenizer():
    named = ("--data", TRAIN, "--tokenizer", "./no-such")
    assert "./no-such): no such folder" in stats(*named, code=1).output


def test_check_fails_when_prompts_are_dropped(tmp_path):
    file = config(tmp_path, "sequence_len: 128", "sequence_len: 79")
    message = "are longer than 47 tokens (sequence_len 79 -"
    assert message in stats(file, "--strict", code=1).stdout
    assert json.loads(stats(file, "--json").stdout)["findings"][0]["level"] == "warning"
    stats(file)  # prints the finding and succeeds without --strict


def test_rollouts_set_the_completion_length(tmp_path):
    columns = {
        "step": [1] * 10,
        "completion_tokens": [20] * 6 + [32] * 4,
        "truncated": [False] * 6 + [True] * 4,
        "reward/correctness": [2.0] * 5 + [0.0] * 5,
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    shown = stats(QUICKSTART, "--rollouts", tmp_path, "--strict", code=1).stdout
    assert "40.0% of the rollouts were truncated" in shown
    assert "max_completion_length: 64" in shown
    made = json.loads(stats(QUICKSTART, "--rollouts", tmp_path, "--json").stdout)
    assert made["rollouts"]["truncated"] == 4 and made["budget"]["completion"] == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "line 1, column 5: expected the node content"),
        ("- a", "not an Axolotl config"),
        ("rl: dpo", "rl (dpo): not grpo or gdpo"),
        ("rl: grpo", "no datasets"),
        ("rl: grpo\ndatasets: a.jsonl", "no datasets. Write a list"),
        ("rl: grpo\ndatasets:\n  - path: a.jsonl", "no base_model"),
    ],
)
def test_refuses_a_file_that_is_no_grpo_config(tmp_path, content, message):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    assert f"{file}: {message}" in stats(file, code=1).output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--data", TRAIN],
        [QUICKSTART, "--data", TRAIN],
        ["--data", TRAIN, "--tokenizer", MODEL, "--strict"],
        [QUICKSTART, "--tokenizer", MODEL],
    ],
)
def test_refuses_options_that_exclude_each_other(arguments):
    assert "axolotl-grpo-plugin: " in stats(*arguments, code=2).stderr


def test_stats_py_prints_the_same_without_importing_torch():
    script = (
        f"import runpy, sys; sys.argv = ['stats.py', {str(QUICKSTART)!r}, '--json']\n"
        "try: runpy.run_path('stats.py', run_name='__main__')\n"
        "finally: assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    assert json.loads(program(script, cwd=ROOT)) == json.loads(stats(QUICKSTART, "--json").stdout)
