import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import auth_check, constants

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.checks import machine
from axolotl_grpo_plugin.findings import Finding

MODEL = "Qwen/Qwen2.5-7B-Instruct"


def findings(lines):
    return [each for each in lines if isinstance(each, Finding)]


def needs(cfg):
    return [each.text for each in machine.check_disk(cfg) if isinstance(each, machine.Fact)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return a function that puts files of MODEL into the hub's cache, as its client lays them out."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / f"models--{MODEL.replace('/', '--')}"

    def put(revision="main", **files):
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / revision).write_text("a" * 40)
        folder = repo / "snapshots" / ("a" * 40)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)

    return put


class Gated(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_model_without_all_parts_of_its_weights_is_not_in_the_cache(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})
    cache(config__json="{}", model__safetensors__index__json=index, one__safetensors="")
    (found,) = findings(machine.check_hub({"base_model": MODEL}))
    assert found.where == MODEL and "not in the cache" in found.what and "--prefetch" in found.fix
    cache(two__safetensors="")
    (fact,) = machine.check_hub({"base_model": MODEL})
    assert fact.text.endswith("the cache has 1 of 1 repositories")


def test_cache_of_another_revision_does_not_count(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache(revision="v2", config__json="{}", model__safetensors="")
    cfg = {"base_model": MODEL, "revision_of_model": "v2"}
    assert not findings(machine.check_hub(cfg))
    assert findings(machine.check_hub({**cfg, "revision_of_model": "v3"}))


@pytest.fixture
def gated(cache, monkeypatch):
    """No gated model can be asked for here. A server on this machine answers as the hub does."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "answers", lambda: True)
    with HTTPServer(("127.0.0.1", 0), Gated) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(auth_check.__self__, "endpoint", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


def test_prefetch_reports_a_model_that_it_cannot_download(gated):
    (found,) = machine.prefetch({"base_model": MODEL})
    assert found.where == MODEL and "cannot be downloaded" in found.what


def test_gated_model_is_found_before_its_download(gated):
    (found,) = findings(machine.check_hub({"base_model": MODEL}))
    assert "the hub refuses this model" in found.what and f"/{MODEL}" in found.fix


def test_checkpoints_that_fill_the_disk_are_counted_from_the_config(cache, tmp_path):
    cfg = {"base_model": MODEL, "output_dir": str(tmp_path / "new" / "out"), "save_total_limit": 4}
    disks = needs(cfg)
    assert disks[0].endswith("14.2 needed at most")  # 7.6 billion parameters of 2 bytes
    assert disks[1].endswith("227.0 needed at most")  # 5 with the optimizer, and the model
    (found,) = findings(machine.check_disk({**cfg, "save_total_limit": 10**6}))
    assert found.where == cfg["output_dir"] and "save_total_limit" in found.fix
    smaller = {**cfg, "save_only_model": True, "adapter": "lora"}
    assert needs(smaller)[1].endswith("0.9 needed at most")
    assert needs({**cfg, "save_strategy": "no"})[1].endswith("14.2 needed at most")
    zero = {**cfg, "deepspeed": {"zero_optimization": {"stage": 3}}}
    assert needs(zero)[1].endswith("510.7 needed at most")  # with the 32-bit copy of the weights


def test_size_of_logged_completions_is_counted_from_the_batch(cache, tmp_path):
    trl = {"log_completions": True, "num_generations": 8, "max_completion_length": 1024}
    cfg = {"base_model": MODEL, "output_dir": str(tmp_path / "out"), "micro_batch_size": 64, "trl": trl}
    assert needs(cfg)[1].endswith("; rollouts: at most 0.2 GiB per 1,000 steps")


def test_taken_port_of_the_weights_is_found():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cfg = {"trl": {"use_vllm": True}, "vllm": {"port": 18_765}, "grpo_trl_args": {"vllm_group_port": port}}
        (found,) = machine.check_ports(cfg)
    assert found.where == f"grpo_trl_args.vllm_group_port ({port})"


def test_small_shared_memory_is_a_warning_for_several_gpus(tmp_path):
    assert not findings(machine.check_shared_memory(1, tmp_path))
    (found,) = findings(machine.check_shared_memory(10**6, tmp_path))
    assert found.level == "warning" and "--shm-size" in found.fix


def test_package_that_crashes_at_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "vllm.py").write_text("raise ImportError('undefined symbol: _ZN3c104')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = machine.check_imports({"trl": {"use_vllm": True}}, gpus=1)
    assert found.where == "vllm" and "undefined symbol" in found.what and found.level == "error"
    (found,) = machine.check_imports({"trl": {"use_vllm": True}}, gpus=0)
    assert found.level == "skipped"


def test_models_and_datasets_of_the_hub_are_listed_once():
    rows = [{"path": "openai/gsm8k"}, {"path": "rows.jsonl"}, {"path": "openai/gsm8k"}]
    cfg = {"base_model": MODEL, "tokenizer_config": MODEL, "datasets": rows}
    cfg["trl"] = {"reward_funcs": ["mine.reward", "Skywork/judge"]}
    named = [("model", MODEL), ("model", "Skywork/judge"), ("dataset", "openai/gsm8k")]
    assert [each[:2] for each in machine.repositories(cfg)] == named
