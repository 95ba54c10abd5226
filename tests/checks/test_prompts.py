from axolotl_grpo_plugin.checks.config import PLUGIN
from axolotl_grpo_plugin.checks.prompts import check_context, check_lengths
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.rows import Source

OURS = {"path": "rows.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}
THEIRS = {"path": "rows.jsonl", "type": "mine.rows"}
PROMPTS = Lengths([100] * 99 + [300])


def lengths(entry=OURS, most=None, prompts=PROMPTS, **cfg):
    cfg = {"plugins": [PLUGIN], "trl": {"max_completion_length": 500, "use_vllm": True}, **cfg}
    source = Source("datasets", 0, entry["path"], entry)
    return [(each.level, str(each)) for each in check_lengths(cfg, source, prompts, most)]


def test_all_fit():
    assert not lengths(vllm={"max_model_len": 800})
    assert not lengths(entry=THEIRS, vllm={"max_model_len": 800})
    assert not lengths()  # nothing says how much there is


def test_some_are_dropped():
    ((level, line),) = lengths(vllm={"max_model_len": 700})
    assert level == "warning"
    assert "1 of 100 prompts (1.0%) are longer than the 200 tokens" in line
    assert "the longest has 300, 99 % at most 100" in line
    assert "Raise vllm.max_model_len by 100" in line
    ((level, line),) = lengths(grpo_max_prompt_length=150)
    assert "Raise grpo_max_prompt_length by 150" in line


def test_none_is_left():
    ((level, line),) = lengths(sequence_len=560)
    assert level == "error"
    assert "no row is left" in line


def test_vllm_refuses_what_nothing_drops():
    ((level, line),) = lengths(entry=THEIRS, vllm={"max_model_len": 700})
    assert level == "error"
    assert "vLLM ends the run where one of them comes up" in line
    ((level, _),) = lengths(plugins=[], vllm={"max_model_len": 700})
    assert level == "error"
    ((level, line),) = lengths(entry=THEIRS, most=600)
    assert "max_position_embeddings 600" in line
    without = {"max_completion_length": 500}
    assert not lengths(entry=THEIRS, sequence_len=560, trl=without)


def context(most=None, **cfg):
    cfg = {"trl": {"max_completion_length": 500}, **cfg}
    return [(each.level, str(each)) for each in check_context(cfg, most)]


def test_the_model_holds_the_context():
    assert not context(most=1024, vllm={"max_model_len": 1024})
    ((level, line),) = context(most=1000, vllm={"max_model_len": 1024})
    assert (level, "1000 tokens that the model can hold" in line) == ("error", True)
    ((level, _),) = context(most=1000, sequence_len=1024)
    assert level == "warning"


def test_the_parts_fit_into_the_context():
    assert not context(sequence_len=800, grpo_max_prompt_length=300)
    ((level, line),) = context(sequence_len=800, grpo_max_prompt_length=301)
    assert level == "error"
    assert "Set it to 801" in line
