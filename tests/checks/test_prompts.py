import pytest
import yaml

from axolotl_grpo_plugin.checks.prompts import check_lengths
from axolotl_grpo_plugin.config import PLUGIN, Config
from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.data.measure import Measured
from axolotl_grpo_plugin.data.rows import Source
from axolotl_grpo_plugin.stats.budget import budget, settings

OURS, THEIRS = "axolotl_grpo_plugin.gsm8k", "mine.rows"
PROMPTS = Lengths([100] * 99 + [300])
VLLM = {"max_completion_length": 500, "use_vllm": True}


def lengths(transform=OURS, most=None, prompts=PROMPTS, **cfg):
    cfg = {"plugins": [PLUGIN], "trl": VLLM, **cfg}
    source = Source("datasets", 0, "rows.jsonl", {"type": transform})
    measured = [Measured(source, prompts)]
    return [(finding.level, str(finding)) for finding in check_lengths(Config(cfg), measured, most)]


@pytest.mark.parametrize(
    "cfg",
    [
        "vllm: {max_model_len: 800}",
        "{vllm: {max_model_len: 800}, transform: mine.rows}",
        "{vllm: {max_model_len: 800}, sequence_len: 512}",  # vLLM's length counts
        "",  # the context is not known
        "{sequence_len: 560, transform: mine.rows, trl: {max_completion_length: 500}}",
        "{most: 1024, vllm: {max_model_len: 1024}}",
        "{sequence_len: 800, grpo_max_prompt_length: 300}",
        "{sequence_len: '800', trl: {max_completion_length: '500'}}",
    ],
)
def test_accepts_lengths_that_lose_no_prompt(cfg):
    cfg = yaml.safe_load(cfg) or {}
    assert lengths(**cfg) == []


@pytest.mark.parametrize(
    "cfg, level, words",
    [
        (
            "vllm: {max_model_len: 700}",
            "warning",
            "1 of 100 prompts (1.0%) are longer than 200 tokens (vllm.max_model_len 700 - "
            "trl.max_completion_length 500), so they are dropped. The longest has 300, 99% have at "
            "most 100. Raise vllm.max_model_len by 100",
        ),
        ("grpo_max_prompt_length: 150", "warning", "Raise grpo_max_prompt_length by 150"),
        ("sequence_len: 700", "warning", "1 of 100 prompts"),
        ("sequence_len: 560", "error", "No row is left"),
        ("{sequence_len: '400', trl: {max_completion_length: '500', use_vllm: true}}", "error", "No row"),
        ("sequence_len: 400", "error", "than 0 tokens (sequence_len 400"),
        ("{transform: mine.rows, vllm: {max_model_len: 700}}", "error", "so vLLM ends the run at the first of them"),
        ("{transform: mine.rows, sequence_len: 700}", "error", "vLLM ends the run"),
        ("{plugins: [], vllm: {max_model_len: 700}}", "error", "vLLM ends the run"),
        ("{transform: mine.rows, most: 600}", "error", "max_position_embeddings 600"),
        (
            "{most: 1000, vllm: {max_model_len: 1024}}",
            "error",
            "1024 is more than the 1000 tokens that the model can hold",
        ),
        ("{most: 1000, sequence_len: 1024}", "warning", "Set it to 1000 at most"),
        ("{sequence_len: 800, grpo_max_prompt_length: 301}", "error", "Set it to 801"),
    ],
)
def test_reports_lengths_that_lose_prompts(cfg, level, words):
    cfg = yaml.safe_load(cfg) or {}
    ((found, line),) = lengths(**cfg)
    assert (found, words in line) == (level, True), line


def test_accepts_the_budget_that_stats_proposes():
    hundred = Lengths(range(1, 101))
    length = settings(Config({"trl": {}}), budget(hundred, 32))["sequence_len"]
    trl = {"max_completion_length": 32}
    assert lengths(prompts=hundred, trl=trl, sequence_len=length) == []


@pytest.mark.parametrize("value", [True, None, "800 or so", 0.5, float("inf"), float("nan")])
def test_ignores_a_completion_length_that_is_not_a_number(value):
    assert lengths(trl={"max_completion_length": value}, sequence_len=560) == []
