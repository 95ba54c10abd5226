"""`axolotl-grpo train` with a real vLLM server (its CPU build) and SmolLM2 on GSM8K.

test_supervisor.py tests the endings of a run with stand-ins. The tests that boot vLLM are `pytest -m slow`.
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

from axolotl_grpo_plugin.serving.address import check_free, server_info
from tests.e2e.conftest import ROOT, axolotl, curves, environment, rollouts, shipped_config
from tests.e2e.scripted import TEMPLATE
from tests.serving.marks import hear_ctrl_c, marked
from tests.serving.stubs import free_port

PATIENCE = 1800  # seconds, on a busy machine


class Run:
    """The shipped config, made small and with local files, and the process that runs it."""

    def __init__(self, python, model, data, folder):
        self.folder, self.mark, self.port = folder, str(folder), free_port()
        self.out, self.output, self.binaries = folder / "out", folder / "output", python.parent
        self.config = folder / "config.yaml"
        rows = {"path": str(data / "train.jsonl"), "ds_type": "json", "split": "train[:16]"}
        cfg = shipped_config("gsm8k/smollm2-135m-cpu-server")
        cfg |= {
            "base_model": str(model),
            "datasets": [{**rows, "type": "axolotl_grpo_plugin.gsm8k"}],
            "output_dir": str(self.out),
            "dataset_prepared_path": str(folder / "prepared"),
            "micro_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "save_steps": 1,
            "grpo_cpu_threads": 1,
            "grpo_rollouts": True,
        }
        cfg["trl"] |= {"num_generations": 4, "max_completion_length": 24}
        cfg["vllm"]["port"] = self.port
        self.config.write_text(yaml.safe_dump(cfg))

    def start(self, *words):
        env = environment(MARK=self.mark, VLLM_CPU_KVCACHE_SPACE="1")
        env["PATH"] = f"{self.binaries}{os.pathsep}{env['PATH']}"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [self.binaries / "axolotl", *words],
                cwd=self.folder,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
            )
        return self

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.text()[-6000:]
            assert time.monotonic() < deadline, self.text()[-6000:]
            time.sleep(0.5)

    def text(self):
        return self.output.read_text(errors="replace")

    def end(self):
        return self.process.wait(timeout=PATIENCE), self.text()

    def left(self, patience=30):
        """Return the command lines of processes that are left `patience` seconds after the end."""
        deadline = time.monotonic() + patience
        while (found := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [process.cmdline() for process in found]

    def has_checkpoint(self, number):
        return (self.out / f"checkpoint-{number}" / "trainer_state.json").exists()


@pytest.fixture
def run(vllm, smollm2, gsm8k, tmp_path):
    run = Run(vllm, smollm2, gsm8k, tmp_path)
    yield run
    for process in marked(run.mark):  # left by a failed test
        process.kill()


@pytest.fixture
def config(smollm2, gsm8k, tmp_path):
    """The same config, for tests that start no vLLM."""
    return Run(Path(sys.executable), smollm2, gsm8k, tmp_path).config


def test_grpo_train_takes_options_before_the_config(config):
    """`axolotl train --num-processes=1 CONFIG` fails: Axolotl 0.21 takes the option for CONFIG."""
    text = axolotl("train", "--num-processes=1", config, cwd=config.parent, returncode=2)
    assert "Path '--num-processes=1' does not exist" in text
    text = axolotl("grpo", "train", "--num-processes=1", config, "--dry-run", cwd=config.parent)
    assert f"axolotl train {config} --num-processes=1" in text


@pytest.mark.slow
class TestWithVLLM:
    """Each test boots vLLM, which takes one or two minutes."""

    def test_trains_syncs_and_leaves_nothing_when_killed(self, run):
        run.start("grpo", "train", run.config, "--max-steps", "50")
        run.until(lambda: run.has_checkpoint(2))
        assert re.search(r"Synced LoRA adapter v\d+ to vLLM", (run.out / "debug.log").read_text())
        info = server_info("127.0.0.1", run.port)
        assert info.models[0] == str(ROOT / "models" / "smollm2-135m-instruct")
        assert len(info.models) > 1  # the adapters of the steps

        run.process.send_signal(signal.SIGKILL)
        assert run.process.wait() == -signal.SIGKILL
        assert run.left() == []
        assert not list(check_free("127.0.0.1", run.port))
        state = json.loads((run.out / "checkpoint-2" / "trainer_state.json").read_text())
        assert state["global_step"] == 2
        assert (run.out / "checkpoint-2" / "adapter_model.safetensors").stat().st_size > 1e6
        assert list((run.out / "rollouts").rglob("*.parquet"))
        assert "Application startup complete" in (run.out / "vllm-server.log").read_text()

    def test_trains_a_step_with_a_tool(self, run):
        """The grammar lets each turn call the calculator, because SmolLM2 was not taught to."""
        called = r'<tool_call>\n\{"name": "calculator", "arguments": \{"expression": "[1-9]\+[1-9]"\}\}\n</tool_call>'
        cfg = yaml.safe_load(run.config.read_text())
        cfg |= {"chat_template_jinja": str(TEMPLATE), "sequence_len": 1024, "max_steps": 1, "grpo_max_tool_calls": 1}
        cfg["grpo_tools"] = ["axolotl_grpo_plugin.environments.tools.calculator"]
        cfg["trl"] |= {"max_completion_length": 160, "vllm_guided_decoding_regex": called}
        cfg["vllm"]["max_model_len"] = 1024
        run.config.write_text(yaml.safe_dump(cfg))
        code, text = run.start("grpo", "train", run.config).end()
        assert code == 0, text[-6000:]
        logged = rollouts(run.out)
        assert len(logged) == 4 and logged["tool_tokens"].gt(10).all()
        for first, answer, last in map(json.loads, logged["completion"]):
            expression = first["tool_calls"][0]["function"]["arguments"]["expression"]
            assert answer["content"] == str(eval(expression)) and "tool_calls" in last
        assert curves(run.out)["tools/calculator/calls"] == [4]

    @pytest.mark.parametrize("plugin", ["OldAdapter", "LostWeights"])
    def test_names_a_sync_that_never_arrives_and_ends_the_run(self, run, plugin):
        cfg = yaml.safe_load(run.config.read_text())
        cfg["plugins"].append(f"tests.e2e.old_weights_plugin.{plugin}")
        # Rewards that no random completion has would give no gradient.
        cfg["trl"]["reward_funcs"] = ["tests.e2e.old_weights_plugin.letters"]
        cfg["trl"]["max_completion_length"] = 16
        cfg |= {"max_steps": 40, "grpo_max_logprob_difference": 0.001}
        if plugin == "LostWeights":
            cfg = {key: value for key, value in cfg.items() if not key.startswith(("lora_", "peft_", "adapter"))}
            cfg["trl"] |= {"use_data_producer": False, "vllm_lora_sync": False}
            cfg["learning_rate"] = 1e-5
        run.config.write_text(yaml.safe_dump(cfg))
        code, text = run.start("grpo", "train", run.config).end()
        assert code == 1, text[-6000:]
        if plugin == "LostWeights":  # the other run differs from its first step on, and reaches the limit in the fifth
            assert "in the last 5 steps, vLLM's log-probabilities drift away from the trainer's" in text, text[-6000:]
        assert "axolotl-grpo-plugin: grpo_max_logprob_difference (0.001): vLLM's" in text[-3000:]
        assert rollouts(run.out)["step"].max() <= 10
        assert run.left() == []

    @pytest.mark.parametrize("process", ["APIServer", "EngineCore"])
    def test_ends_when_the_server_dies(self, run, process):
        run.start("grpo", "train", run.config)
        run.until(lambda: run.has_checkpoint(1))
        log = (run.out / "vllm-server.log").read_text()
        os.kill(int(re.search(rf"\({process} pid=(\d+)\)", log)[1]), signal.SIGKILL)
        code, text = run.end()
        assert code == 1
        assert "in mid-training" in text
        assert run.left(patience=0) == []
