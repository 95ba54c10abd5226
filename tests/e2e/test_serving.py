"""`axolotl grpo train` with a real vLLM server (its CPU build) and SmolLM2 on GSM8K.

The endings are tested on stand-ins, in tests/serving. Here each costs a boot of one or two minutes, so
those tests are `pytest -m slow`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.serving.address import answer, check_free
from tests.e2e.conftest import ROOT, axolotl, environment
from tests.serving.marks import hear_ctrl_c, marked
from tests.serving.test_supervisor import free_port

CONFIG = ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu-server.yaml"
PATIENCE = 500  # seconds, on a busy machine


@pytest.fixture
def run(vllm, smollm2, gsm8k, tmp_path):
    """The shipped config, small, from local files: start it, and what it did."""
    made = Run(vllm, smollm2, gsm8k, tmp_path)
    yield made
    for each in marked(made.mark):  # of a test that has failed
        each.kill()


class Run:
    def __init__(self, python, model, data, folder):
        self.folder, self.mark, self.port = folder, str(folder), free_port()
        self.out, self.said, self.python = folder / "out", folder / "said", python
        cfg = yaml.safe_load(CONFIG.read_text())
        rows = {"path": str(data / "train.jsonl"), "ds_type": "json", "split": "train[:16]"}
        cfg["datasets"] = [{**rows, "type": "axolotl_grpo_plugin.gsm8k"}]
        cfg["trl"] |= {"num_generations": 4, "max_completion_length": 24}
        cfg["vllm"]["port"] = self.port
        cfg |= {
            "base_model": str(model),
            "output_dir": str(self.out),
            "dataset_prepared_path": str(folder / "prepared"),
            "micro_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "save_steps": 1,
            "grpo_cpu_threads": 1,
            "grpo_rollouts": True,
        }
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(cfg))

    def start(self, *words):
        binaries = self.python.parent
        env = environment(MARK=self.mark, VLLM_CPU_KVCACHE_SPACE="1")
        env["PATH"] = f"{binaries}{os.pathsep}{env['PATH']}"
        with self.said.open("ab") as output:
            self.process = subprocess.Popen(
                [binaries / "axolotl", *words],
                cwd=self.folder,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
            )
        return self

    def until(self, what, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not what():
            assert self.process.poll() is None, self.text()[-6000:]
            assert time.monotonic() < deadline, self.text()[-6000:]
            time.sleep(0.5)

    def text(self):
        return self.said.read_text(errors="replace")

    def end(self):
        return self.process.wait(timeout=PATIENCE), self.text()

    def left(self, patience=30):
        """What is still there, at the latest `patience` seconds after the end."""
        deadline = time.monotonic() + patience
        while (found := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [each.cmdline() for each in found]

    def checkpoint(self, number):
        return (self.out / f"checkpoint-{number}" / "trainer_state.json").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_trains_syncs_and_leaves_nothing_when_killed(run):
    run.start("grpo", "train", run.config, "--canary", "--max-steps", "50")
    run.until(lambda: run.checkpoint(2))
    text = run.text()

    # what vLLM answered before the first step came from the weights that it had just been sent
    synced, before = map(
        float, re.search(r"canary: vLLM is (\S+) nats .* (\S+) from those", text).groups()
    )
    assert synced < 0.01 and before > 0.1

    # each step's rollouts came from that step's adapter
    assert re.search(r"Synced LoRA adapter v\d+ to vLLM", text)
    there = answer("127.0.0.1", run.port)
    assert there.models[0] == str(ROOT / "models" / "smollm2-135m-instruct")
    assert len(there.models) > 1

    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait() == -signal.SIGKILL
    assert run.left() == []
    assert not list(check_free("127.0.0.1", run.port))
    state = json.loads((run.out / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert (run.out / "checkpoint-2" / "adapter_model.safetensors").stat().st_size > 1e6
    assert list((run.out / "rollouts").rglob("*.parquet"))
    assert "Application startup complete" in (run.out / "vllm-server.log").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_a_server_that_dies_at_boot_is_explained(run):
    run.start("grpo", "train", run.config, "--vllm.max-model-len", "99999")
    code, text = run.end()
    assert code == 1
    assert "vLLM's server ended while it started (exit code 1). likely cause: length" in text
    assert run.left() == []


@pytest.fixture
def config(smollm2, gsm8k, tmp_path):
    """The same config, for runs that start no vLLM."""
    return Run(Path(sys.executable), smollm2, gsm8k, tmp_path).config


def test_axolotl_train_without_a_server_ends_with_the_command_that_works(config):
    text = axolotl("train", config, cwd=config.parent, returncode=1)
    assert f"no vLLM server answers. `axolotl grpo train {config}` starts vLLM and trains." in text
    assert "Loading weights" not in text


def test_grpo_train_takes_options_before_the_config(config):
    """`axolotl train --num-processes=1 CONFIG`: Axolotl 0.21 itself takes the option for CONFIG."""
    text = axolotl("train", "--num-processes=1", config, cwd=config.parent, returncode=2)
    assert "Path '--num-processes=1' does not exist" in text
    text = axolotl("grpo", "train", "--num-processes=1", config, "--dry-run", cwd=config.parent)
    assert f"axolotl train {config} --num-processes=1" in text


@pytest.mark.slow
class TestEndings:
    """A boot each: an hour in all on a busy machine."""

    def test_of_the_last_step(self, run):
        run.start("grpo", "train", run.config, "--max-steps", "2")
        code, text = run.end()
        assert code == 0, text[-6000:]
        assert run.left(patience=0) == []
        assert (run.out / "adapter_model.safetensors").exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_by_a_signal(self, run, number):
        run.start("grpo", "train", run.config)
        run.until(lambda: run.checkpoint(1))
        saved = run.out / "adapter_model.safetensors"
        before = saved.stat().st_mtime if saved.exists() else 0
        run.process.send_signal(number)
        code, _ = run.end()
        assert code == 128 + number
        assert run.left(patience=0) == []
        assert saved.stat().st_mtime > before

    def test_while_it_boots(self, run):
        run.start("grpo", "train", run.config)
        run.until(lambda: "vLLM starts, 15 s" in run.text())
        run.process.send_signal(signal.SIGINT)
        assert run.end()[0] == 130
        assert run.left(patience=0) == []

    @pytest.mark.parametrize("which", ["APIServer", "EngineCore"])
    def test_by_the_servers_death(self, run, which):
        run.start("grpo", "train", run.config)
        run.until(lambda: run.checkpoint(1))
        log = (run.out / "vllm-server.log").read_text()
        os.kill(int(re.search(rf"\({which} pid=(\d+)\)", log)[1]), signal.SIGKILL)
        code, text = run.end()
        assert code == 1
        assert "in mid-training" in text
        assert run.left(patience=0) == []
        assert run.checkpoint(1)

    def test_by_a_reward_that_raises(self, run):
        (run.folder / "bad.py").write_text(
            "def raises(prompts, completions, **_):\n    raise ValueError('broken')\n"
        )
        cfg = yaml.safe_load(run.config.read_text())
        cfg["trl"]["reward_funcs"] = ["bad.raises"]
        run.config.write_text(yaml.safe_dump(cfg))
        run.start("grpo", "train", run.config)
        code, text = run.end()
        assert code == 1
        assert "the reward bad.raises failed" in text
        assert run.left(patience=0) == []

    def test_of_axolotl_train_on_a_server_that_is_up(self, run):
        run.start("vllm-serve", run.config)
        server = run.process
        run.until(lambda: (there := answer("127.0.0.1", run.port)) and there.models)
        assert run.start("train", run.config, "--num-processes=1", "--max-steps", "1").end()[0] == 0
        # what it left in the server is not taken for the next run's
        code, text = run.start("train", run.config, "--num-processes=1").end()
        assert code == 1
        assert "holds adapters of an earlier run" in text
        code, text = run.start("grpo", "train", run.config).end()
        assert code == 1
        assert "taken, by a vLLM server of" in text
        server.terminate()
        assert server.wait(60) is not None
        assert run.left() == []
