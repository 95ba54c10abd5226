import pytest
from axolotl.utils.dict import DictDefault

from axolotl_grpo_plugin.cloud.gpus import parse
from axolotl_grpo_plugin.cloud.machine import (
    check_addresses,
    check_call,
    check_gpu,
    check_saving,
    unknown,
)
from axolotl_grpo_plugin.serving.plan import Call
from tests.cloud.project import CONFIG


def found(gpu, **keys):
    cfg = DictDefault({**CONFIG, "axolotl_config_path": "a.yaml", **keys})
    return [each.where for each in check_gpu(cfg, gpu and parse(gpu))]


COLOCATE = {"use_vllm": True, "vllm_mode": "colocate"}
ALONE = {"use_vllm": False}


@pytest.mark.parametrize(
    ("gpu", "keys", "where"),
    [
        ("L40S:2", {"bf16": True}, []),
        ("T4:2", {"bf16": True}, ["a.yaml: bf16", "a.yaml: vllm.dtype"]),
        ("T4:2", {"bf16": "full", "vllm": {"dtype": "half"}}, ["a.yaml: bf16"]),
        ("T4:2", {"bf16": "auto", "vllm": {"dtype": "bfloat16"}}, ["a.yaml: vllm.dtype"]),
        ("T4", {"trl": COLOCATE, "vllm": {"dtype": "float16"}}, []),
        ("T4", {"trl": ALONE}, []),
        (None, {"trl": COLOCATE}, ["a.yaml: trl.use_vllm"]),
        (None, {"trl": ALONE, "bf16": True}, []),
    ],
)
def test_what_a_gpu_cannot(gpu, keys, where):
    assert found(gpu, **keys) == where


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ({}, False),
        ({"save_strategy": "steps"}, False),
        ({"save_strategy": "no"}, True),
        ({"save_strategy": False}, True),  # YAML's own reading of no
    ],
)
def test_a_run_without_checkpoints_starts_anew(keys, warned):
    found = list(check_saving(DictDefault(keys)))
    assert [each.level for each in found] == ["warning"] * warned


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("http://localhost:8000/v1", True),
        ("HTTP://me:x@127.0.0.2/v1", True),
        ("https://[::1]:8/v1", True),
        ("http://0.0.0.0:8", True),
        ("https://api.openai.com/v1?at=localhost", False),
        ("http://10.0.0.1/127.0.0.1", False),
        ("localhost", False),
    ],
)
def test_an_address_of_this_machine(value, wrong):
    cfg = DictDefault({"grpo_reward_args": {"judge": {"base_url": value}}})
    assert [each.where for each in check_addresses(cfg)] == (
        ["grpo_reward_args.judge.base_url"] * wrong
    )


def test_the_server_is_on_this_machine_there_too():
    cfg = DictDefault({"trl": {"vllm_server_base_url": "http://localhost:8000"}})
    assert not list(check_addresses(cfg))


def call(launcher="accelerate", after=(), typed=()):
    return Call("a.yaml", launcher, list(typed), {}, list(after), None)


@pytest.mark.parametrize(
    ("launcher", "after", "left"),
    [
        ("accelerate", ["--num-processes", "1", "--main_process_port=2"], set()),
        ("accelerate", ["--learning-rat", "1e-6"], {"--learning-rat"}),
        ("accelerate", ["--canary=1"], {"--canary"}),
        ("torchrun", ["--nproc-per-node", "auto"], set()),
        ("torchrun", ["--num-machines", "2"], {"--num-machines"}),
        ("python", ["--anything"], set()),
    ],
)
def test_an_option_that_nobody_knows(launcher, after, left):
    assert unknown(call(launcher, after)) == left


def test_what_grpo_train_refuses_is_known_before():
    cfg = DictDefault({**CONFIG, "axolotl_config_path": "a.yaml", "plugins": [], "use_ray": True})
    asked = call("torchrun", ["--num-processes", "1"], ["--launcher=torchrun"])
    assert [each.where for each in check_call(asked, cfg)] == [
        "a.yaml: plugins",
        "--num-processes",
        "a.yaml: use_ray",
    ]
