"""Axolotl's own commands with Modal's own client: output, requests, exit codes."""

import json
import shlex
import subprocess
import sys
from queue import Queue
from unittest.mock import Mock

import pytest
import yaml
from grpclib import Status
from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult as RESULT

from axolotl_grpo_plugin.cloud.remote import digest
from tests.cloud.project import CONFIG, NAME, write, write_cloud, write_config

TRAIN = ("train", NAME, "--cloud", "cloud.yaml")
FETCH = "mkdir -p outputs && modal volume get runs a outputs"


def test_sends_files_and_secrets_trains_and_fetches(typed, project, modal_service, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    write(project, "keys.env", text="WANDB_API_KEY=w_sesame\n")
    write_cloud(secrets=["HF_TOKEN", {"modal": "mine"}, {"dotenv": "keys.env"}], env={"A": 1})
    modal_service.stored["mine"] = {"OTHER": "o"}
    files = "rewards/mine.py helper.py .env id_rsa outputs/old/x .venv/pyvenv.cfg"
    write(project, *files.split())
    modal_service.log("loss 0.1")
    ended = typed(*TRAIN, "--learning-rate=2e-6", "--trl.beta=0.1", "--num-processes", "1")
    assert ended.code == 0, ended
    shown = ["  no error, but not checked: ", "  runs  ", "  sends ", "  secrets   HF_TOKEN, mine, keys.env",
             "  gpu       L40S:2", "  costs ", "loss 0.1", FETCH]  # fmt: skip
    assert "Log: modal app logs ap-" in ended.out and "Stop: modal app stop ap-" in ended.out
    assert sorted(map(ended.out.index, shown)) == [ended.out.index(each) for each in shown]
    (job,) = modal_service.jobs
    assert job == {
        **{"command": ["grpo", "train"], "config": NAME, "output": "./outputs/a", "resume": True},
        **{"text": (project / NAME).read_text(), "after": ["--num-processes", "1"]},
        **{"words": ["--learning-rate=2e-6", "--trl.beta=0.1"]},
        **{"volumes": {"/workspace/outputs": "runs", "/cache": "kept"}},
    }
    sent = {name for name in modal_service.mounted() if name.startswith("/upload/")}
    wanted = ("cloud.yaml", NAME, "data/train.jsonl", "rewards/mine.py", "helper.py")
    assert sent == {f"/upload/{name}" for name in wanted}
    own = {"HF_TOKEN": "hf_sesame", "AXOLOTL_DO_NOT_TRACK": "1", "A": "1"}
    own["WANDB_API_KEY"] = "w_sesame"
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


@pytest.mark.parametrize(("cloud", "config", "words", "text"), [
    ({}, {}, ("--learning-rate", "1e-6"), "runs      axolotl grpo train configs/a.yaml --learning-rate=1"),
    ({"gpu": "L40S:4"}, {"gradient_accumulation_steps": 8}, (), "placement 3 processes on GPU 0, 1, 2; vLLM on GPU 3"),
    ({}, {"trl": CONFIG["trl"] | {"use_vllm": False}, "bf16": False}, (), "gpu       none, because this runs on the CPU"),
    ({"dry_run": True}, {}, ("--launcher", "python"), "train configs/a.yaml --launcher=python"),
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
    ended = typed(*TRAIN, "--canary")
    assert (ended.code, ended.err) == (1, "")
    for text in (
        "vllm: this run needs 2 GPUs",
        "output_dir (./model-out): it is on no Volume, and would be lost. Write output_dir: ./outputs/",
        "wandb_project: WANDB_API_KEY is not sent",
        "cloud.yaml: max_size (0.0001 MB): 0.0 MB would be sent",
        "datasets[0].path (data/train.jsonl): data/train.jsonl is not sent",
        "--canary: `axolotl train` and its launcher have no such option",
    ):
        assert f"  error     {text}" in ended.out


def test_missing_config_is_named(typed, no_token):
    ended = typed("train", "none.yaml", *TRAIN[2:])
    assert ended.code == 2 and "'none.yaml' does not exist" in ended.err


def test_preprocess_rents_no_gpu(typed, project, modal_service):
    write_config(skip_prepare_dataset=None, dataset_prepared_path="./outputs/prepared")
    assert typed("preprocess", *TRAIN[1:], "--dataset-processes", "4").code == 0
    (job,) = modal_service.jobs
    assert (job["command"], job["words"]) == (["preprocess"], ["--dataset-processes=4"])
    assert modal_service.function.resources.gpu_config == api_pb2.GPUConfig()
    write_config(skip_prepare_dataset=None)
    ended = typed("preprocess", *TRAIN[1:])
    assert "dataset_prepared_path (./last_run_prepared): it is on no" in ended.out


def test_each_config_of_a_sweep_is_a_run(typed, project, modal_service):
    write(project, "sweep.yaml", text=yaml.safe_dump({"learning_rate": [1e-6, 2e-6]}))
    typed(*TRAIN, "--sweep", "sweep.yaml")
    outputs = [job["output"] for job in modal_service.jobs]
    assert outputs == ["outputs/a/sweep0001", "outputs/a/sweep0002"]
    assert {job["config"] for job in modal_service.jobs} == {NAME}


@pytest.mark.parametrize(
    "rpc", "VolumeListFiles SecretGetOrCreate AppCreate MountGetOrCreate ImageJoinStreaming FunctionCreate".split()
)
def test_ctrl_c_before_it_runs(typed, modal_service, rpc):
    modal_service.interrupts.add(rpc)
    ended = typed(*TRAIN)
    assert (ended.code, ended.err, modal_service.jobs) == (130, "", [])
    assert ended.out.endswith("Stopped. Nothing runs on Modal.\n")


@pytest.mark.parametrize("detach", [True, False])
def test_ctrl_c_while_it_runs(typed, project, modal_service, detach):
    write_cloud(detach=detach)
    modal_service.interrupts.add("FunctionGetOutputs")
    ended = typed(*TRAIN)
    assert (ended.code, ended.err, ended.out.splitlines()[-1]) == (130, "", FETCH)
    assert ("The run goes on at Modal. Stop it: modal app stop ap-" in ended.out) is detach


@pytest.mark.parametrize("phase", ["start.Start.__init__", "preflight.check_secrets"])
def test_ctrl_c_during_imports_and_checks(typed, no_token, monkeypatch, phase):
    monkeypatch.setattr(f"axolotl_grpo_plugin.cloud.{phase}", Mock(side_effect=KeyboardInterrupt))
    ended = typed(*TRAIN)
    assert (ended.code, ended.err) == (130, "")


def test_lost_connection_is_followed_again(typed, modal_service, monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.cloud.start.RETRY", 0.5)
    commands = Queue()
    monkeypatch.setattr(subprocess, "run", commands.put)

    def answer(job):
        modal_service.lose(5)
        assert commands.get(timeout=60)[2:5] == ["modal", "app", "logs"]
        return 3

    modal_service.answer = answer
    ended = typed(*TRAIN)
    assert (ended.code, ended.err) == (3, "")
    assert "The connection is lost. This command reconnects." in ended.out
    assert ended.out.endswith(f"The run ended with exit code 3. See the log above.\n{FETCH}\n")


def test_unavailable_service_is_asked_again(typed, modal_service):
    modal_service.transient |= {"VolumeGetOrCreate", "AppCreate", "FunctionMap"}
    assert typed(*TRAIN).code == 0 and len(modal_service.jobs) == 1 and not modal_service.transient


@pytest.mark.parametrize(
    ("words", "state", "text"),
    [
        ((), {"finished": False}, None),
        ((), {"finished": True}, "a finished run of a is there"),
        (("--learning-rate", "3e-6"), {"finished": False}, "another config or other options wrote checkpoint-10"),
        ((), None, "checkpoint-10 is there without cloud-run.json, so its run is unknown"),
        ((), {"finished": False, "call": "fc-another"}, "a run of a is under way there. Wait for its end"),
    ],
)
def test_run_continues_or_is_refused_before_a_container_starts(typed, modal_service, words, state, text):
    typed(*TRAIN)
    jobs, files = modal_service.jobs, {"a/checkpoint-9/x": b"", "a/checkpoint-10/x": b""}
    if state:
        state = {"run": digest(jobs[0]), "config": "a"} | state
        files["a/cloud-run.json"] = json.dumps(state).encode()
    modal_service.put_volume("runs", files)
    modal_service.calls.clear()
    ended = typed(*TRAIN, *words)
    if text is None:
        assert "continues from checkpoint-10, or the one before" in ended.out
        assert jobs[1] == jobs[0]
        return
    assert ended.code == 1 and text in ended.err and ended.err.count("\n") == 1
    assert not modal_service.named("AppCreate")
    if "under way" not in text:
        assert "or delete it: `modal volume rm -r runs a`." in ended.err
        fix = "--resume-from-checkpoint=./outputs/a/checkpoint-10"
        assert fix in ended.err and typed(*TRAIN, *words, fix).code == 0
        assert (jobs[-1]["words"][-1], jobs[-1]["resume"]) == (fix, False)


@pytest.mark.parametrize(("rpc", "status", "message", "text"), [
    ("*", Status.UNAUTHENTICATED, "Token ID is malformed", "there is no valid token here (Token ID is malformed). Run `modal token new`."),
    ("VolumeGetOrCreate", Status.PERMISSION_DENIED, "No write access", "the token lacks a right (No write access). Ask"),
    ("FunctionCreate", Status.INVALID_ARGUMENT, "No GPU of type L40S", "it refuses this GPU (No GPU of type L40S). Set another gpu in cloud.yaml."),
    ("AppCreate", Status.RESOURCE_EXHAUSTED, "Too many apps", "the workspace is at a limit (Too many apps). See `modal app list`."),
    ("AppCreate", Status.FAILED_PRECONDITION, "Workspace is closed", "Workspace is closed. See https://modal.com/docs"),
    ("AppCreate", Status.ABORTED, "Try later", "Try later. See https://modal.com/docs"),
    ("AppCreate", Status.INTERNAL, None, "InternalError. See https://modal.com/docs"),
    ("VolumeListFiles", Status.UNAVAILABLE, "Down", "Down. See https://modal.com/docs"),
])  # fmt: skip
def test_modals_refusal_is_one_line(typed, modal_service, rpc, status, message, text):
    modal_service.refusals[rpc] = status, message
    ended = typed(*TRAIN)
    assert ended.code == 1 and ended.err.startswith(f"axolotl-grpo-plugin: Modal: {text}")
    assert ended.err.count("\n") == 1 and modal_service.jobs == [] and "volume get" not in ended.out


def test_missing_secret_is_found_before_the_app_exists(typed, project, modal_service):
    write_cloud(secrets=[{"modal": "none"}])
    assert "there is no such Secret (Secret 'none' not found" in typed(*TRAIN).err
    assert not modal_service.named("AppCreate")


def test_missing_token_is_named(typed, no_token):
    assert "Modal: there is no valid token here" in typed(*TRAIN).err


def test_unreachable_network_is_named(typed, modal_service, monkeypatch):
    monkeypatch.setenv("MODAL_SERVER_URL", "http://127.0.0.1:1")
    assert "Modal: it does not answer" in typed(*TRAIN).err


def test_failed_build_shows_its_reason(typed, modal_service):
    modal_service.failed_build = ("Collecting x", "pip failed\nERROR: no version of x")
    ended = typed(*TRAIN)
    assert "the image build failed (pip failed ERROR: no version of x)" in ended.err
    assert ended.err.count("\n") == 1 and "Collecting x" in ended.out


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (RESULT(status="GENERIC_STATUS_TIMEOUT", exception="hit its timeout"), "Modal: the run reached its timeout"),
        (RESULT(status="GENERIC_STATUS_INTERNAL_FAILURE", exception="lost"), "Modal: it lost the container (lost)"),
        (RESULT(status="GENERIC_STATUS_TERMINATED"), "Modal: the container ended (stopped, out of memory or lost)"),
        (ValueError("no such file\nmore"), "the container's function failed (ValueError: no such file)"),
        (OSError(28, "No space left"), "the container's function failed (OSError: [Errno 28] No space"),
    ],
)
def test_container_that_breaks_off_is_one_line(typed, modal_service, end, text):
    modal_service.answer = Mock(side_effect=[end])  # raised, if it is an exception
    ended = typed(*TRAIN)
    assert ended.code == 1 and ended.err.startswith(f"axolotl-grpo-plugin: {text}")
    assert ended.err.count("\n") == 1 and ended.out.splitlines()[-1] == FETCH


def test_missing_client_is_named(typed, monkeypatch):
    from axolotl_grpo_plugin.cloud import launcher

    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    assert 'Run `pip install "axolotl-grpo-plugin[modal]"`.' in typed(*TRAIN).err
