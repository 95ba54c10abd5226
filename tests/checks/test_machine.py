import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import auth_check, constants

from axolotl_grpo_plugin.checks import machine
from axolotl_grpo_plugin.checks.repositories import Repository, check_hub, download, repositories
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.findings import Fact, Finding

MODEL = "Qwen/Qwen2.5-7B-Instruct"


def findings(lines):
    return [line for line in lines if isinstance(line, Finding)]


def codes(lines):
    return [finding.code for finding in findings(lines)]


def needs(cfg):
    lines = [line.text for line in machine.check_disk(Config(cfg)) if isinstance(line, Fact)]
    return [text.rpartition(", ")[2] for text in lines]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Work offline. Return a function that puts files of MODEL into the hub's cache, as its client lays them out."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
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


def test_model_without_all_parts_of_its_weights_is_not_in_the_cache(cache):
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})
    cache(config__json="{}", model__safetensors__index__json=index, one__safetensors="")
    assert codes(check_hub(Config({"base_model": MODEL}))) == ["not-cached"]
    cache(two__safetensors="")
    (fact,) = check_hub(Config({"base_model": MODEL}))
    assert fact.text.endswith("the cache has 1 of 1 models and datasets")


def test_cache_of_another_revision_does_not_count(cache):
    cache(revision="v2", config__json="{}", model__safetensors="")
    cfg = {"base_model": MODEL, "revision_of_model": "v2"}
    assert not findings(check_hub(Config(cfg)))
    assert findings(check_hub(Config({**cfg, "revision_of_model": "v3"})))


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
    assert codes([download(Config({}), Repository("model", MODEL))]) == ["not-downloaded"]


def test_gated_model_is_found_before_its_download(gated):
    assert codes(check_hub(Config({"base_model": MODEL}))) == ["refused-by-hub"]


def test_checkpoints_that_fill_the_disk_are_counted_from_the_config(cache, tmp_path):
    cfg = {"base_model": MODEL, "output_dir": str(tmp_path / "new" / "out"), "save_total_limit": 4}
    disks = needs(cfg)
    assert disks[0] == "14.2 needed at most"  # 7.6 billion parameters of 2 bytes
    assert disks[1] == "227.0 needed at most"  # 5 with the optimizer, and the model
    assert codes(machine.check_disk(Config({**cfg, "save_total_limit": 10**6}))) == ["full-disk"]
    smaller = {**cfg, "save_only_model": True, "adapter": "lora"}
    assert needs(smaller)[1] == "0.9 needed at most"
    assert needs({**cfg, "save_strategy": "no"})[1] == "14.2 needed at most"
    zero = {**cfg, "deepspeed": {"zero_optimization": {"stage": 3}}}
    assert needs(zero)[1] == "510.7 needed at most"  # with the 32-bit copy of the weights


TORCH = """
from types import SimpleNamespace as Some
print("a line of a package")
class cuda:
    init = lambda: None
    device_count = lambda: 2
    get_device_properties = lambda number: Some(name="A100")
    mem_get_info = lambda number: (79 << 30, (80 - number) << 30)
version = Some(cuda="13.0")
ones = lambda *_, **__: Some(sum=lambda: Some(item=lambda: 8.0))
"""


def test_probe_of_torch_may_print_lines_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (fact,) = machine.check_gpus(["0", "1"])
    assert fact.text == "2 x A100, 79 GiB each"
    (tmp_path / "torch.py").write_text("import os; os._exit(9)")
    (found,) = machine.check_gpus(["0"])
    assert found.code == "unusable-gpus" and "exit code 9" in found.what


def test_taken_port_of_the_weights_is_found():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cfg = {"trl": {"use_vllm": True}, "vllm": {"port": 18_765}, "grpo_trl_args": {"vllm_group_port": port}}
        assert codes(machine.check_ports(Config(cfg))) == ["taken-port"]


def test_small_shared_memory_is_a_warning_for_several_gpus(tmp_path):
    assert not findings(machine.check_shared_memory(1, tmp_path))
    assert codes(machine.check_shared_memory(10**6, tmp_path)) == ["small-shm"]


def test_package_that_crashes_at_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "vllm.py").write_text("raise ImportError('undefined symbol: _ZN3c104')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = machine.check_imports(Config({"trl": {"use_vllm": True}}), gpus=1)
    assert (found.where, found.level, found.code) == ("vllm", "error", "broken-package")
    assert "undefined symbol" in found.what  # Python's own text
    assert codes(machine.check_imports(Config({"trl": {"use_vllm": True}}), gpus=0)) == ["no-gpu"]


def test_models_and_datasets_of_the_hub_are_listed_once():
    rows = [{"path": "openai/gsm8k"}, {"path": "rows.jsonl"}, {"path": "openai/gsm8k"}]
    cfg = {"base_model": MODEL, "tokenizer_config": MODEL, "datasets": rows}
    cfg["trl"] = {"reward_funcs": ["mine.reward", "Skywork/judge"]}
    named = [("model", MODEL), ("model", "Skywork/judge"), ("dataset", "openai/gsm8k")]
    assert [repository[:2] for repository in repositories(Config(cfg))] == named


FILES = [{"path": "a/b", "data_files": name, "split": "train"} for name in ("one.parquet", "two.parquet")]


@pytest.fixture
def loaded(monkeypatch):
    """The hub has a dataset of two files. Its loader fills the cache, and reads only from there without a network."""
    from axolotl.utils.data import shared
    from datasets import Dataset

    cached = []

    def load_dataset(path, data_files=None, **_):
        if constants.HF_HUB_OFFLINE and data_files not in cached:
            raise ConnectionError("offline")
        cached.append(data_files)
        return Dataset.from_list([{"question": data_files}] * 3)

    monkeypatch.setattr(shared, "load_dataset", load_dataset)
    monkeypatch.setattr(shared, "_check_if_hub_dataset", lambda *_: True)
    return cached


def test_prefetch_loads_each_file_of_a_dataset_as_the_training_does(loaded, monkeypatch):
    cfg = {"datasets": [FILES[0], FILES[1], FILES[0]]}
    wanted = repositories(Config(cfg))
    assert [part.label for part in wanted] == ["a/b (one.parquet, train)", "a/b (two.parquet, train)"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert codes(check_hub(Config(cfg))) == ["not-cached", "not-cached"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert download(Config(cfg), wanted[0]).text == "a/b (one.parquet, train): 3 rows" and loaded == ["one.parquet"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (found,) = findings(check_hub(Config(cfg)))
    assert (found.code, found.where) == ("not-cached", "a/b (two.parquet, train)")
