import pytest

from axolotl_grpo_plugin.stats.budget import as_yaml, budget, budgets, check, settings
from axolotl_grpo_plugin.stats.counts import Lengths

GSM8K = Lengths([100] * 900 + [200] * 99 + [263])  # its longest, with Qwen2.5's tokenizer


def test_gsm8k_and_512_tokens_want_800():
    assert budget(GSM8K, 512)[1:] == (263, 0, 512, 800)


def test_a_share_may_be_dropped():
    made = budget(GSM8K, 512, drop=0.05)
    assert (made.prompt, made.dropped, made.context) == (200, 1, 736)
    assert budget(GSM8K, 512, drop=0.2)[1:] == (100, 100, 512, 640)


def test_every_option_keeps_its_share():
    for option in budgets(GSM8K, 500):
        assert option.dropped <= (1 - option.kept) * GSM8K.rows + 1e-9
        assert option.context % 32 == 0 and option.prompt + 500 <= option.context


@pytest.mark.parametrize(
    ("cfg", "keys"),
    [
        ({}, {"trl.max_completion_length", "sequence_len", "vllm.max_model_len"}),
        ({"trl": {}}, {"trl.max_completion_length", "sequence_len"}),
        (
            {"trl": {"use_vllm": True}},
            {"trl.max_completion_length", "sequence_len", "vllm.max_model_len"},
        ),
        ({"trl": {"use_vllm": False}}, {"trl.max_completion_length", "sequence_len"}),
        (
            {"trl": {"use_vllm": False}, "grpo_max_prompt_length": 100},
            {"trl.max_completion_length", "sequence_len", "grpo_max_prompt_length"},
        ),
    ],
)
def test_what_is_set(cfg, keys):
    made = settings(cfg, budget(GSM8K, 512))
    assert set(made) == keys
    assert made.get("grpo_max_prompt_length", 288) == 288


def test_the_block_to_paste_is_yaml():
    values = {"trl.max_completion_length": 512, "sequence_len": 800, "vllm.max_model_len": 800}
    assert as_yaml(values) == (
        "trl:\n  max_completion_length: 512\nsequence_len: 800\nvllm:\n  max_model_len: 800"
    )


def verdicts(cfg, drop=0.0, limit=None):
    return [(each.ok, each.line) for each in check(cfg, GSM8K, drop, limit)]


def test_present_numbers_that_do():
    (only,) = verdicts({"trl": {"max_completion_length": 512}, "vllm": {"max_model_len": 800}})
    assert only == (
        True,
        "vllm.max_model_len 800 - trl.max_completion_length 512 leaves 288 tokens for a prompt; the longest has 263",
    )


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({}, "trl.max_completion_length is not set"),
        (
            {"sequence_len": 700},
            "sequence_len 700 - trl.max_completion_length 512 leaves 188 tokens for a prompt: "
            "100 of 1,000 prompts (10.0%) are longer, and lost; set 800",
        ),
        ({"sequence_len": 500}, "leaves no token for a prompt"),
        (
            {"vllm": {"max_model_len": 774}, "sequence_len": 2048},
            "vllm.max_model_len 774 - trl.max_completion_length 512 leaves 262 tokens",
        ),
        (
            {"sequence_len": 800, "grpo_max_prompt_length": 300},
            "grpo_max_prompt_length 300 + trl.max_completion_length 512 is more than sequence_len 800",
        ),
        (
            {"sequence_len": 800, "grpo_max_prompt_length": 150},
            "100 of 1,000 prompts (10.0%) are longer than grpo_max_prompt_length 150, and dropped",
        ),
        ({"grpo_max_prompt_length": 150}, "100 of 1,000 prompts (10.0%) are longer than"),
    ],
)
def test_present_numbers_that_fail(cfg, said):
    trl = {"max_completion_length": 512} if cfg else {}
    failed = [line for ok, line in verdicts({"trl": trl, **cfg}) if not ok]
    assert len(failed) == 1 and said in failed[0]


def test_what_is_proposed_passes_its_own_check():
    hundred = Lengths(range(1, 101))
    for drop in (0.0, 0.07, 0.29, 0.5):
        made = settings({"trl": {}}, budget(hundred, 32, drop))
        cfg = {"trl": {"max_completion_length": 32}, "sequence_len": made["sequence_len"]}
        assert all(verdict.ok for verdict in check(cfg, hundred, drop, None))


@pytest.mark.parametrize("written", [800, 800.0, "800"])
def test_numbers_are_read_as_axolotls_validation_reads_them(written):
    assert verdicts({"trl": {"max_completion_length": "512"}, "sequence_len": written})[0][0]
    for no_number in (True, None, "800 or so", 0.5, float("inf"), float("nan")):
        cfg = {"trl": {"max_completion_length": no_number}, "sequence_len": written}
        assert "is not set" in verdicts(cfg)[0][1]


def test_rows_that_may_be_lost_are_no_failure():
    cfg = {"trl": {"max_completion_length": 512}, "sequence_len": 736}
    assert [ok for ok, _ in verdicts(cfg)] == [False]
    assert [ok for ok, _ in verdicts(cfg, drop=0.001)] == [True]


def test_the_model_has_a_limit_too():
    cfg = {"trl": {"max_completion_length": 512}, "sequence_len": 1024}
    assert [ok for ok, _ in verdicts(cfg, limit=1024)] == [True]
    assert (False, "a context of 1024 is more than the model's 1000 (max_position_embeddings)") in (
        verdicts(cfg, limit=1000)
    )
    assert not all(ok for ok, _ in verdicts({"trl": cfg["trl"]}, limit=774))
    assert all(ok for ok, _ in verdicts({"trl": cfg["trl"]}, limit=775))
