"""`axolotl-grpo doctor`: the plan and the memory of a config, and findings that have codes."""

import json

import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.serving import placement
from axolotl_grpo_plugin.serving.address import settle_address
from tests.conftest import ROOT, Later, invoke, script

doctor = Later("axolotl_grpo_plugin.commands.doctor")

SLURM = ROOT / "configs/dispatch/qwen2.5-7b-slurm.yaml"
FULL = ROOT / "configs/gsm8k/qwen2.5-1.5b-full-2gpu.yaml"


def planned(file, gpus, gib=80.0, **keys):
    """Return the codes of findings, and the names of facts."""
    cfg = {**yaml.safe_load(file.read_text()), **keys}
    settle_address(Config(cfg))
    try:
        lines = list(doctor._check_plan(Config(cfg), gpus, gib))
    except doctor.FindingError as error:
        lines = error.findings
    return [line.code if isinstance(line, Finding) else line.name for line in lines]


def test_counts_the_gpus_of_one_node_of_a_config_for_several():
    assert planned(SLURM, "0123") == ["plan"]
    assert planned(SLURM, "012") == ["plan", "too-few-gpus"]
    assert planned(SLURM, "01234") == ["idle-gpus", "plan"]


def test_counts_all_ranks_of_a_slurm_job(job):
    assert planned(SLURM, "0123") == ["memory"]
    assert planned(SLURM, "0123", gib=12.0) == ["memory", "too-little-memory"]


def test_compares_the_gpus_with_the_need_of_the_config():
    assert planned(FULL, "01") == ["memory"]
    assert planned(FULL, "01", gib=11.0) == ["memory", "too-little-memory"]
    assert planned(FULL, "01", gib=13.0) == ["memory", "tight-memory"]
    assert planned(FULL, "0") == ["too-few-gpus"]


def test_all_findings_are_in_the_json_and_have_codes(tmp_path, monkeypatch):
    script(tmp_path / "nvidia-smi", "sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(placement, "_SECONDS", 0.5)
    cfg = {**yaml.safe_load(FULL.read_text()), "base_model": "no/model", "output_dir": "/proc/a"}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(cfg))
    shown = invoke("doctor", tmp_path / "a.yaml", "--json", code=1)
    codes = {found["code"] for found in json.loads(shown.stdout)["findings"]}
    assert {"uncounted-gpus", "unknown-size", "output-read-only", "not-cached"} <= codes
    assert "" not in codes
