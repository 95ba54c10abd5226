"""run.yaml and the closing block of a run."""

import hashlib
import os
import sys

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.runlog.schema import write
from axolotl_grpo_plugin.serving.request import ADDED, COMMAND
from axolotl_grpo_plugin.training.record import add_facts, facts, results, write_run

REWARD = "rewards.mine.ends_with"
GIVEN = {
    "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "rl": "grpo",
    "trl": {"reward_funcs": ["some/reward-model", REWARD], "beta": 0.1},
    "grpo_reward_args": {REWARD: {"tags": ["a b", "c"]}},
    "datasets": [{"path": "openai/gsm8k"}, {"path": "rows.jsonl"}],
}


@pytest.mark.parametrize(
    "started",
    [["axolotl", "train", "c.yaml", "--trl.beta=-3--1"], ["axolotl/cli/train.py", "c.yaml", "--trl--beta=-3--1"]],
)
def test_run_file_has_the_command_and_the_config(tmp_path, monkeypatch, started):
    """Axolotl's launchers write --trl--beta for the typed --trl.beta, which `axolotl train` then ignores."""
    monkeypatch.setattr(sys, "argv", [*started, "--debug-num-examples=0"])
    write_run(Config({**GIVEN, "debug": False, "comet_api_key": None}), tmp_path / "new")
    text = (tmp_path / "new" / "run.yaml").read_text()
    known = facts(tmp_path / "new")
    assert known["Command"] == "axolotl-grpo train c.yaml --trl.beta=-3--1"
    assert "axolotl-grpo-plugin 0" in known["Versions"] and known["Started"].endswith(f"in {os.getcwd()}")
    assert yaml.safe_load(text) == GIVEN


def test_record_has_only_what_the_user_typed(tmp_path, monkeypatch):
    """The first node of a Slurm job is another one in the job that resumes the run."""
    given = {**GIVEN, "auto_resume_from_checkpoints": True}
    given["trl"] = {**GIVEN["trl"], "vllm_server_host": "gn1"}
    monkeypatch.setattr(sys, "argv", ["axolotl/cli/train.py", "c.yaml", "--trl--vllm-server-host=gn1"])
    monkeypatch.setenv(ADDED, "auto_resume_from_checkpoints trl.vllm_server_host")
    monkeypatch.setenv(COMMAND, "axolotl-grpo train c.yaml --launcher torchrun -- --nproc-per-node 2")
    write_run(Config(given), tmp_path)
    assert yaml.safe_load((tmp_path / "run.yaml").read_text()) == GIVEN
    assert facts(tmp_path)["Command"] == "axolotl-grpo train c.yaml --launcher torchrun -- --nproc-per-node 2"


def test_secrets_are_in_neither_file(tmp_path, monkeypatch):
    words = ["axolotl", "train", "c.yaml", "--swanlab-api-key=sk-1", "--hub-token", "sk-2", "--max-steps", "3"]
    monkeypatch.setattr(sys, "argv", words)
    more = {"swanlab_api_key": "sk-1", "hub_token": "sk-2", "special_tokens": {"pad_token": "<pad>"}}
    write_run(Config({**GIVEN, **more}), tmp_path)
    text = (tmp_path / "run.yaml").read_text()
    assert text.startswith("# Left out, because they are named like secrets: swanlab_api_key, hub_token. Set them")
    assert yaml.safe_load(text) == {**GIVEN, "special_tokens": {"pad_token": "<pad>"}}
    assert facts(tmp_path)["Command"] == "axolotl-grpo train c.yaml --max-steps 3"
    assert "sk-" not in text + (tmp_path / "run.json").read_text()


def test_facts_are_added_and_replaced(tmp_path):
    write_run(Config(GIVEN), tmp_path, {"Hardware": "1 x CPU"})
    before = facts(tmp_path)
    body = yaml.safe_dump(GIVEN, sort_keys=False)
    assert before["Config"] == f"sha256 {hashlib.sha256(body.encode()).hexdigest()[:16]}"
    add_facts(tmp_path, {"Trained": "1 step"})
    more = add_facts(tmp_path, {"Trained": "2 steps", "Warnings": "the reward fell:\n- Read"})
    assert more == {**before, "Hardware": "1 x CPU", "Trained": "2 steps", "Warnings": "the reward fell: - Read"}


def test_run_ends_well_beside_files_that_a_power_cut_destroyed(tmp_path):
    columns = {"mode": ["train"], "step": [1], "rank": [0], "attempt": [1], "prompt": ["1?"]}
    for number in (0, 1):
        write(tmp_path / "rollouts", number, columns)
    (tmp_path / "rollouts/train/001-000001-000-000001.parquet").write_bytes(b"")
    (tmp_path / "run.json").write_text('{"Comm')
    assert "(1 completions" in results(Config({**GIVEN, "output_dir": str(tmp_path)}))["rollouts"]


def test_closing_block_counts_lost_rollouts(tmp_path):
    lines = results(Config({**GIVEN, "output_dir": str(tmp_path)}), "3 batches could not be written: No space left.")
    assert lines["lost"] == "rollouts: 3 batches could not be written: No space left."


def test_closing_block_names_files_and_next_commands(tmp_path):
    cfg = {**GIVEN, "output_dir": str(tmp_path)}
    assert results(Config(cfg)) == {"model": str(tmp_path)}
    (tmp_path / "README.md").touch()
    columns = {"mode": ["train"] * 2, "step": [1, 1], "rank": [0, 0], "attempt": [1, 1], "prompt": ["1?", "2?"]}
    write(tmp_path / "rollouts", 0, columns)
    size = next((tmp_path / "rollouts" / "train").iterdir()).stat().st_size
    expected = {
        "model": f"{tmp_path} (adapter for {GIVEN['base_model']})",
        "card": f"{tmp_path}/README.md",
        "rollouts": f"{tmp_path}/rollouts/train (2 completions, {size / 2:,.0f} bytes each)",
        "view": f"axolotl-grpo view {tmp_path}",
        "evaluate": f"axolotl-grpo eval {tmp_path}/run.yaml",
    }
    assert results(Config({**cfg, "adapter": "lora", "test_datasets": [{}]})) == expected
