"""Axolotl's own commands with Modal's own client: output, requests, exit codes."""

import shlex
import subprocess
import sys
from unittest.mock import Mock

import pytest
import yaml
from modal_proto import api_pb2

from axolotl_grpo_plugin.cloud.remote import CloudJob
from tests.cloud.project import CONFIG, NAME, write, write_cloud, write_config
from tests.cloud.scenarios import SCENARIOS

TRAIN = ("train", NAME, "--cloud", "cloud.yaml")
FETCH = "mkdir -p outputs && modal volume get runs a outputs"


def test_sends_files_and_secrets_trains_and_fetches(typed, project, modal_service, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    write_cloud(secrets=["HF_TOKEN", {"modal": "mine"}], env={"A": 1})
    modal_service.stored["mine"] = {"OTHER": "o"}
    files = "rewards/mine.py helper.py .env id_rsa wandb_key.txt outputs/old/x .venv/x.py"
    write(project, *files.split())
    modal_service.log("loss 0.1")
    ended = typed(*TRAIN, "--learning-rate=2e-6", "--trl.beta=0.1", "--num-processes", "1")
    assert ended.code == 0, ended
    shown = ["  no error, but not checked: ", "  runs  ", "  sends ", " MB  data/train.jsonl", "  holds     id_rsa, wandb_key.txt", "  secrets   HF_TOKEN, mine",
             "  gpu       L40S:2", "loss 0.1", FETCH]  # fmt: skip
    assert "Log: modal app logs ap-" in ended.out and "Stop: modal app stop ap-" in ended.out
    assert sorted(map(ended.out.index, shown)) == [ended.out.index(text) for text in shown]
    assert modal_service.claims()["runs/a"]["config"] == NAME
    (job,) = modal_service.jobs
    assert job == CloudJob(
        config=NAME,
        text=(project / NAME).read_text(),
        words=["--learning-rate=2e-6", "--trl.beta=0.1"],
        after=["--num-processes", "1"],
        output="./outputs/a",
        volumes={"/workspace/outputs": "runs", "/cache": "kept"},
        resume=True,
    )
    sent = {name for name in modal_service.mounted() if name.startswith("/upload/")}
    wanted = ("cloud.yaml", NAME, "data/train.jsonl", "rewards/mine.py", "helper.py")
    assert sent == {f"/upload/{name}" for name in wanted}
    own = {"HF_TOKEN": "hf_sesame", "AXOLOTL_DO_NOT_TRACK": "1", "A": "1"}
    assert modal_service.secrets() == {"": own, "mine": {"OTHER": "o"}}
    assert "sesame" not in ended.out + ended.err
    assert "[gym]" not in str(modal_service.image_layers())
    for name, request in modal_service.calls:
        assert b"sesame" not in request.SerializeToString() or name == "SecretGetOrCreate"
    function = modal_service.function
    called = f"{function.module_name}.{function.function_name}"
    assert called == "axolotl_grpo_plugin.cloud.remote.run"
    assert function.resources.gpu_config == api_pb2.GPUConfig(gpu_type="L40S", count=2)
    assert (function.timeout_secs, function.startup_timeout_secs) == (21600, 1800)
    assert (function.retry_policy.retries, function.single_use_containers) == (2, True)
    (app,) = modal_service.named("AppCreate")
    assert (app.description, app.app_state) == ("a", api_pb2.APP_STATE_DETACHED)

    modal_service.put_volume("runs", {"a/model.safetensors": b"new", "a/b/c.txt": b"c"})
    (project / "outputs").mkdir(exist_ok=True)
    command = [sys.executable, "-m", *shlex.split(ended.out.splitlines()[-1].partition(" && ")[2])]
    subprocess.run(command, check=True, cwd=project, capture_output=True)
    assert (project / "outputs/a/b/c.txt").read_bytes() == b"c"


@pytest.mark.parametrize("cloud, config, words, text", [
    ({}, {}, ("--learning-rate", "1e-6"), "runs      axolotl-grpo train configs/a.yaml --learning-rate=1"),
    ({"secrets": ["HF_TOKEN"]}, {}, (), "secrets   HF_TOKEN (not sent: it is not set here)"),
    ({"gpu": "L40S:4"}, {"gradient_accumulation_steps": 8}, (), "placement 3 processes on GPU 0, 1, 2; vLLM on GPU 3"),
    ({}, {"trl": CONFIG["trl"] | {"use_vllm": False}, "bf16": False}, (), "gpu       none, because this runs on the CPU"),
    ({}, {}, ("--launcher", "python"), "train configs/a.yaml --launcher=python"),
    ({}, {"base_model": "./outputs/sft"}, (), "no error, but not checked: "),
])  # fmt: skip
def test_dry_run_needs_no_token(typed, no_token, project, cloud, config, words, text):
    write_cloud(**cloud)
    write_config(**config)
    ended = typed(*TRAIN, "--dry-run", *words)
    assert ended.code == 0 and text in ended.out


def test_errors_stop_before_modal_is_asked(typed, no_token, project):
    """One error of each check. A request to Modal would be one more, because there is no token."""
    write_cloud(gpu="L40S", max_size=0.0001, ignore=["data"])
    write_config(output_dir=None, wandb_project="p")
    ended = typed(*TRAIN, "--canari")
    assert (ended.code, ended.err) == (1, "")
    for text in (
        "vllm: this run needs 2 GPUs",
        "output_dir (./model-out): it is on no Volume, and would be lost. Write output_dir: ./outputs/",
        "wandb_project: WANDB_API_KEY is not sent",
        "cloud.yaml: max_size (0.0001 MB): 0.0 MB would be sent",
        "datasets[0].path (data/train.jsonl): data/train.jsonl is not sent",
        "--canari: `axolotl train` and its launcher have no such option",
    ):
        assert f"  error     {text}" in ended.out


def test_a_missing_client_is_named(typed, project, monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.cloud.launcher.find_spec", lambda name: None)
    ended = typed(*TRAIN)
    assert ended.code == 1 and "axolotl-grpo-plugin: --cloud: the package modal is not installed. Run" in ended.err


def test_preprocess_is_refused(typed, no_token):
    ended = typed("preprocess", *TRAIN[1:])
    assert ended.code == 1 and "axolotl preprocess --cloud: not supported." in ended.err


def test_each_config_of_a_sweep_is_a_run(typed, project, modal_service):
    write(project, "sweep.yaml", text=yaml.safe_dump({"learning_rate": [1e-6, 2e-6]}))
    typed(*TRAIN, "--sweep", "sweep.yaml")
    outputs = [job.output for job in modal_service.jobs]
    assert outputs == ["outputs/a/sweep0001", "outputs/a/sweep0002"]
    assert {job.config for job in modal_service.jobs} == {NAME}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_command_ends_as_the_run_does(typed, modal_service, monkeypatch, scenario):
    """An error is one line. The last line fetches the outputs of a run, and a start that failed claims no folder."""
    scenario.before(modal_service, monkeypatch)
    before = modal_service.claims()
    ended = typed(*TRAIN, *scenario.words)
    assert (ended.code, len(modal_service.jobs)) == (scenario.code, scenario.jobs), ended
    assert scenario.text in ended.out + ended.err
    if scenario.code == 1:
        assert ended.err.startswith("axolotl-grpo-plugin: ") and ended.err.count("\n") == 1
    else:
        assert ended.err == ""
    started = bool(scenario.jobs)
    assert (ended.out.splitlines()[-1] == FETCH) is started
    if not started:
        assert modal_service.claims() == before
    else:
        assert "fc-ended" not in str(modal_service.claims())
    assert not modal_service.transient


@pytest.mark.parametrize("phase", ["start.Start.__init__", "preflight.check_secrets"])
def test_ctrl_c_during_imports_and_checks(typed, no_token, monkeypatch, phase):
    monkeypatch.setattr(f"axolotl_grpo_plugin.cloud.{phase}", Mock(side_effect=KeyboardInterrupt))
    ended = typed(*TRAIN)
    assert (ended.code, ended.err) == (130, "")


def test_missing_client_is_named(typed, monkeypatch):
    from axolotl_grpo_plugin.cloud import launcher

    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    assert 'Run `pip install "modal>=1.3.0.post1,<2"`.' in typed(*TRAIN).err
