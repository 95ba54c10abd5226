"""Ray's workers train as the process that the user started. tests/engines/test_ray.py has a real cluster."""

import os
import pickle
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.repairs import ray_workers

GIVEN = {"rl": "grpo", "output_dir": "./outputs/mine", "trl": {"beta": 0.0}}


@pytest.fixture
def started(monkeypatch):
    """The workers' functions that Axolotl would start, and whether on CPUs."""
    calls = []
    monkeypatch.setattr(ray_workers.upstream, "start_ray_workers", lambda *given: calls.append(given))
    monkeypatch.setattr(ray_workers, "find_spec", lambda _: True)
    return calls


@pytest.mark.parametrize(
    "resources, on_cpus",
    [
        (None, False),  # Axolotl's default is one GPU
        ({"GPU": 1}, False),
        ({"CPU": 8}, False),  # Ray adds a GPU
        ({"CPU": 2, "GPU": 0}, True),
        ({"GPU": "0"}, True),
    ],
)
def test_workers_without_gpus_are_those_with_0_gpus(started, resources, on_cpus):
    ray_workers.connect_workers(Config({**GIVEN, "use_ray": True, "resources_per_worker": resources}), Config(GIVEN))
    assert [call[1] for call in started] == [on_cpus]


@pytest.mark.parametrize("on_cpus", [True, False])
def test_axolotl_starts_our_function_on_gpus_or_cpus(monkeypatch, tmp_path, on_cpus):
    """Stand-ins for Ray's modules show what Axolotl asks for."""
    from axolotl.cli import train as axolotls
    from axolotl.utils.dict import DictDefault

    asked = {}
    ray, torch = ModuleType("ray.train"), ModuleType("ray.train.torch")
    ray.RunConfig = torch.TorchConfig = dict
    ray.ScalingConfig = lambda **given: asked.update(given)
    torch.TorchTrainer = lambda function, **_: SimpleNamespace(fit=lambda: asked.update(function=function))
    for name, module in {"ray": ModuleType("ray"), "ray.train": ray, "ray.train.torch": torch}.items():
        monkeypatch.setitem(sys.modules, name, module)
    cfg = DictDefault(use_ray=True, resources_per_worker={"CPU": 1}, ray_num_workers=2, output_dir=str(tmp_path))
    monkeypatch.setattr(axolotls, "ray_train_func", None)
    monkeypatch.setattr(axolotls, "load_cfg", lambda *_, **__: cfg, raising=False)
    monkeypatch.setattr(sys, "argv", ["axolotl"])
    ray_workers.upstream.start_ray_workers(print, on_cpus)
    axolotls.do_cli("c.yaml")
    assert (asked["use_gpu"], asked["num_workers"], asked["function"]) == (not on_cpus, 2, print)


def test_without_ray_nothing_changes(started):
    ray_workers.connect_workers(Config(GIVEN), Config(GIVEN))
    assert not started


def test_worker_has_the_folder_the_command_line_and_the_config_of_the_driver(started, tmp_path, monkeypatch):
    """Ray's workers start elsewhere, with the command line of a raylet and the validated config."""
    monkeypatch.chdir(tmp_path)
    typed = ["axolotl", "train", "c.yaml", "--use-ray"]
    monkeypatch.setattr(sys, "argv", [*typed])
    ray_workers.connect_workers(Config({**GIVEN, "use_ray": True}), Config(GIVEN))
    train = pickle.loads(pickle.dumps(started[0][0]))  # it travels to another machine

    seen = []
    monkeypatch.setattr("axolotl.cli.train.ray_train_func", lambda got: seen.append((Path.cwd(), [*sys.argv], got)))
    monkeypatch.setattr(sys, "argv", ["worker.py", "--node-ip-address=10.77.0.11"])
    monkeypatch.chdir("/")
    tmp_path.rmdir()  # a disk that this worker does not share
    train({"cfg": {"rl": "validated", "trl": {"top_k": None}}, "cli_args": "as given"})
    assert seen == [(tmp_path, typed, {"cfg": GIVEN, "cli_args": "as given"})]
    assert os.getcwd() == str(tmp_path)


@pytest.mark.parametrize("code, fails", [(0, False), ("axolotl-grpo-plugin: a finding", True)])
def test_only_a_finding_fails_a_worker(tmp_path, monkeypatch, code, fails):
    """A finished run ends with exit code 0, which Ray would take for a failure."""

    def end(_):
        raise SystemExit(code)

    monkeypatch.setattr("axolotl.cli.train.ray_train_func", end)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)
    driver = ray_workers.Driver(str(tmp_path), [], {})
    with pytest.raises(SystemExit) if fails else nullcontext():
        ray_workers._train(driver, {})
