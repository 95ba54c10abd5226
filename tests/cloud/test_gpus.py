import pytest
from modal.gpu import parse_gpu_config

from axolotl_grpo_plugin.cloud.gpus import FAMILIES, GPU, cost, parse
from axolotl_grpo_plugin.findings import Finding


@pytest.mark.parametrize(
    ("keys", "modal", "gb"),
    [
        (("L40S",), "L40S", 48),
        (("l40s:2",), "L40S:2", 48),
        ((" L40S:1 ",), "L40S", 48),
        (("L40S", 2), "L40S:2", 48),
        (("L40S:2", 2), "L40S:2", 48),
        (("A10:4",), "A10:4", 24),
        (("a10g",), "A10G", 24),
        (("A100",), "A100", 40),
        (("rtx-pro-6000",), "RTX-PRO-6000", 96),
        (("H100!:8",), "H100!:8", 80),
        (("H200:8",), "H200:8", 141),
        (("B200+", 2), "B200+:2", 180),
        (("X900:2", None, 512), "X900:2", 512),
    ],
)
def test_what_modal_takes(keys, modal, gb):
    gpu = parse(*keys)
    assert (gpu.modal, gpu.gb) == (modal, gb)
    sent = parse_gpu_config(gpu.modal)
    assert (sent.gpu_type, sent.count) == (gpu.name, gpu.count)


def test_without_a_gpu():
    assert parse(None) is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("L40",), "gpu (L40): no GPU of Modal's that is known here. Did you mean 'L40S'"),
        (("L40",), "T4, L4, A10"),
        (("L40",), "add gpu_memory"),
        (("zz",), "There are: A10, A100"),
        (("A10:5",), "gpu (A10:5): a container has 1 to 4 of them"),
        (("L40S", 9), "a container has 1 to 8 of them"),
        (("X900:9", None, 512), "a container has 1 to 8 of them"),
        (("L40S:0",), "a container has 1 to 8 of them"),
        (("L40S:two",), "no number of GPUs"),
        (("L40S:",), "no number of GPUs"),
        (("L40S:²",), "no number of GPUs"),
        (("L40S:-1",), "no number of GPUs"),
        (("L40S:2", 1), "gpu (L40S:2): gpu_count says 1"),
        (("L40S", "2"), "gpu_count ('2'): not a number of GPUs"),
        (("L40S", True), "gpu_count (True): not a number"),
        (("L40S", 0), "gpu_count (0): not a number of GPUs"),
        ((["H100", "A100"],), "gpu (['H100', 'A100']): not a string"),
        ((None, 2), "gpu: is missing"),
        ((None, None, 48), "gpu: is missing"),
        (("L40S", None, 80), "gpu_memory (80): the memory of a L40S is known, 48 GB"),
        (("X900", None, "80"), "gpu_memory (80): not a size"),
        (("X900", None, True), "gpu_memory (True): not a size"),
        (("X900", None, -1), "gpu_memory (-1): not a size"),
        (("X900", None, float("nan")), "gpu_memory (nan): not a size"),
    ],
)
def test_what_is_wrong(keys, said):
    finding = parse(*keys, where="my.yaml")
    assert isinstance(finding, Finding)
    assert str(finding).startswith("my.yaml: gpu")
    assert said in str(finding)


def test_bfloat16_is_missing_before_ampere():
    assert [name for name in FAMILIES if not parse(name).bf16] == ["T4"]


def test_the_price_of_an_hour():
    """By https://techbytes.app's table of May 2026, another reading of the same price list."""
    others = {"T4": 0.5904, "L4": 0.7992, "L40S": 1.9512, "A100-80GB": 2.4984, "H100": 3.9492}
    assert {name: parse(name).price for name in others} == others


def test_what_a_run_costs_at_most():
    lines = cost(parse("L40S:2"), cpu=8, memory=64, seconds=21600).splitlines()
    hour = 2 * 1.9512 + (8 * 0.0000131 + 64 * 0.00000222) * 3600
    assert 28.74 < 6 * hour <= 28.75
    assert lines == [
        "at most $28.75 for one attempt: $4.79 an hour x 6 h of timeout",
        "2 x L40S at $1.95 an hour, 8 CPU cores at $0.05, 64 GiB of memory at $0.01",
        "(list prices of July 2026, modal.com/pricing). On top: CPU and memory used beyond that,",
        "the container's start, storage, and the attempt that follows a preemption",
    ]


def test_at_most_is_never_less():
    assert "at most $0.01 for" in cost(None, cpu=0.125, memory=0.125, seconds=1)


def test_without_a_gpu_none_is_paid():
    line = cost(None, cpu=8, memory=64, seconds=3600)
    assert "\n8 CPU cores at" in line
    assert "at most $0.89 for" in line


def test_a_price_that_is_not_known_is_said():
    line = cost(GPU("X900", 2, 512, None), cpu=8, memory=64, seconds=7200)
    assert "2 x X900, whose price is not known here" in line
    assert "an hour without the GPUs" in line
    assert "at most $1.78 and 4 GPU hours of X900 for one attempt" in line
