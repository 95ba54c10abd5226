"""Starts by Axolotl's own commands and Modal's own client: the lines, the requests, the exit codes."""

import json
import shlex
import subprocess
import sys

import pytest
import yaml
from grpclib import Status
from modal import exception
from modal_proto import api_pb2

from axolotl_grpo_plugin.cloud import start
from axolotl_grpo_plugin.cloud.remote import digest
from tests.cloud.project import CLOUD, CONFIG, NAME

TRAIN = ("train", NAME, "--cloud", "cloud.yaml")
FETCH = "mkdir -p outputs && modal volume get runs a outputs"


@pytest.fixture
def jobs(modal_service):
    """The jobs that the container got."""
    got = []
    modal_service.answer = lambda args, kwargs: (
        modal_service.log("loss 0.1") or got.append(args[0]) or 0
    )
    return got


def raising(error):
    def answer(*args, **kwargs):
        raise error

    return answer


def test_trains_and_fetches(typed, project, modal_service, jobs, monkeypatch):
    """Own reward, helper, data and keys arrive; the printed line fetches the result."""
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    project.write("keys.env", "WANDB_API_KEY=w_sesame\n")
    project.cloud(secrets=["HF_TOKEN", {"modal": "mine"}, {"dotenv": "keys.env"}], env={"A": 1})
    modal_service.stored["mine"] = {"OTHER": "o"}
    for file in (
        "rewards/mine.py",
        "helper.py",
        ".env",
        "id_rsa",
        "outputs/old/x",
        ".venv/pyvenv.cfg",
    ):
        project.write(file, "not to be sent")
    said = typed(*TRAIN, "--learning-rate", "2e-6", "--num-processes", "1")
    assert said.code == 0, said
    shown = ["  OK but", "  runs  ", "  sends ", "  secrets   HF_TOKEN, mine, keys.env",
             "  gpu       L40S:2", "  costs ", "loss 0.1", FETCH]  # fmt: skip
    assert "Log: modal app logs ap-" in said.out and "Stop: modal app stop ap-" in said.out
    assert sorted(map(said.out.index, shown)) == [said.out.index(each) for each in shown]
    assert jobs == [
        {
            "command": ["grpo", "train"],
            "config": NAME,
            "text": project.text(),
            "words": ["--learning-rate=2e-6"],
            "after": ["--num-processes", "1"],
            "output": "./outputs/a",
            "volumes": {"/workspace/outputs": "runs", "/cache": "kept"},
            "resume": True,
        }
    ]
    sent = {name for name in modal_service.mounted() if name.startswith("/upload/")}
    wanted = ("cloud.yaml", NAME, "data/train.jsonl", "rewards/mine.py", "helper.py")
    assert sent == {f"/upload/{name}" for name in wanted}
    own = {
        "HF_TOKEN": "hf_sesame",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "A": "1",
        "WANDB_API_KEY": "w_sesame",
    }
    assert modal_service.secrets() == {"": own, "mine": {"OTHER": "o"}}
    assert "sesame" not in said.out + said.err
    for name, request in modal_service.calls:
        assert b"sesame" not in request.SerializeToString() or name == "SecretGetOrCreate"
    function = modal_service.function
    assert (function.module_name, function.function_name) == (
        "axolotl_grpo_plugin.cloud.remote",
        "run",
    )
    assert function.resources.gpu_config == api_pb2.GPUConfig(gpu_type="L40S", count=2)
    assert (function.timeout_secs, function.startup_timeout_secs) == (21600, 1800)
    assert (function.retry_policy.retries, function.single_use_containers) == (2, True)
    (app,) = modal_service.named("AppCreate")
    assert (app.description, app.app_state) == ("a", api_pb2.APP_STATE_DETACHED)

    modal_service.put_volume("runs", {"a/model.safetensors": b"new", "a/b/c.txt": b"c"})
    (project.folder / "outputs").mkdir(exist_ok=True)
    command = [sys.executable, "-m", *shlex.split(said.out.splitlines()[-1].partition(" && ")[2])]
    subprocess.run(command, check=True, cwd=project.folder, capture_output=True)
    assert (project.folder / "outputs/a/b/c.txt").read_bytes() == b"c"


@pytest.mark.parametrize(
    ("cloud", "config", "words", "said"),
    [
        ({}, {}, ("--learning-rate", "1e-6"), "runs      axolotl grpo train configs/a.yaml --learning-rate=1"),
        ({"gpu": "L40S:4"}, {"gradient_accumulation_steps": 8}, (), "placement 3 processes on GPU 0, 1, 2; vLLM on GPU 3"),
        ({}, {"trl": CONFIG["trl"] | {"use_vllm": False}, "bf16": False}, (), "gpu       none, because this runs on the CPU"),
        ({"dry_run": True}, {}, ("--launcher", "python"), "train configs/a.yaml --launcher=python"),
        ({}, {"base_model": "./outputs/sft"}, (), "OK, "),
    ],
)  # fmt: skip
def test_dry_run_needs_no_token(typed, no_token, project, cloud, config, words, said):
    project.cloud(**cloud)
    project.config(**config)
    found = typed(*TRAIN, "--dry-run", *words)
    assert found.code == 0 and said in found.out


@pytest.mark.parametrize(
    ("cloud", "config", "words", "said"),
    [
        ({"gpu": None}, {}, (), "trl.use_vllm: vLLM needs a GPU"),
        ({"gpu": "L40S"}, {}, (), "vllm: this run needs 2 GPUs"),
        ({}, {"output_dir": "./runs/a"}, (), "output_dir (./runs/a): it is on no Volume"),
        ({}, {"wandb_project": "p"}, (), "wandb_project: WANDB_API_KEY is not sent"),
        ({"max_size": 0.0001}, {}, (), "cloud.yaml: max_size (0.0001 MB): 0.0 MB would be sent"),
        ({"ignore": ["data"]}, {}, (), "datasets[0].path (data/train.jsonl): data/train.jsonl is not sent"),
        ({}, {}, ("--canary",), "--canary: `axolotl train` and its launcher do not know it"),
    ],
)  # fmt: skip
def test_errors_stop_before_modal_is_asked(typed, no_token, project, cloud, config, words, said):
    project.cloud(**cloud)
    project.config(**config)
    found = typed(*TRAIN, *words)
    assert (found.code, found.err) == (1, "") and f"  error     {said}" in found.out


def test_preprocess_rents_no_gpu(typed, project, modal_service, jobs):
    project.config(skip_prepare_dataset=None, dataset_prepared_path="./outputs/prepared")
    assert typed("preprocess", *TRAIN[1:], "--dataset-processes", "4").code == 0
    assert (jobs[0]["command"], jobs[0]["words"]) == (["preprocess"], ["--dataset-processes=4"])
    assert modal_service.function.resources.gpu_config == api_pb2.GPUConfig()
    project.config(skip_prepare_dataset=None)
    assert (
        "dataset_prepared_path (./last_run_prepared): it is on no"
        in typed("preprocess", *TRAIN[1:]).out
    )


def test_sweep_and_python_code(typed, project, jobs):
    project.write("sweep.yaml", yaml.safe_dump({"learning_rate": [1e-6, 2e-6]}))
    typed(*TRAIN, "--sweep", "sweep.yaml")
    assert [job["output"] for job in jobs] == ["outputs/a/sweep0001", "outputs/a/sweep0002"]
    assert {job["config"] for job in jobs} == {NAME}
    from axolotl_grpo_plugin.cloud.launcher import ModalLauncher

    made = ModalLauncher.from_config(CLOUD, config_dir=project.folder)
    made.train(project.text(), learning_rate="2e-6", trl__beta=0.1)
    assert jobs[-1]["words"] == ["--learning-rate=2e-6", "--trl.beta=0.1"]
    with pytest.raises(KeyError, match="learning_rat"):
        made.train(project.text(), learning_rat="2e-6")


@pytest.mark.parametrize("code", [1, 137])
def test_exit_code_is_the_trainings(typed, modal_service, code):
    modal_service.answer = lambda args, kwargs: code
    said = typed(*TRAIN)
    assert said.code == code
    assert said.out.endswith(f"It ended with exit code {code}. The log above says why.\n{FETCH}\n")


@pytest.mark.parametrize(
    "rpc", ["VolumeListFiles", "AppCreate", "ImageJoinStreaming", "FunctionCreate"]
)
def test_ctrl_c_before_it_runs(typed, modal_service, jobs, rpc):
    modal_service.interrupts.add(rpc)
    said = typed(*TRAIN)
    assert (said.code, said.err, jobs) == (130, "", [])
    assert said.out.endswith("Stopped. Nothing runs on Modal.\n")


@pytest.mark.parametrize("detach", [True, False])
def test_ctrl_c_while_it_runs(typed, project, modal_service, detach):
    project.cloud(detach=detach)
    modal_service.answer = modal_service.forever
    modal_service.interrupts.add("FunctionGetOutputs")
    said = typed(*TRAIN)
    assert (said.code, said.err, said.out.splitlines()[-1]) == (130, "", FETCH)
    assert ("It goes on at Modal. Stop it: modal app stop ap-" in said.out) is detach


def test_ctrl_c_during_the_checks(typed, no_token, monkeypatch):
    monkeypatch.setattr(start.checks, "check", raising(KeyboardInterrupt()))
    assert typed(*TRAIN).code == 130


def test_lost_connection_is_followed_again(typed, modal_service, monkeypatch):
    monkeypatch.setattr(start, "RETRY", 0.5)
    logs = []
    monkeypatch.setattr(start.subprocess, "run", logs.append)

    def answer(args, kwargs):
        modal_service.lose(2)
        modal_service._stopped.wait(6)
        return 3

    modal_service.answer = answer
    said = typed(*TRAIN)
    assert (said.code, said.err) == (3, "")
    assert "The connection is lost. The run goes on, and this command reconnects." in said.out
    assert logs[0][2:5] == ["modal", "app", "logs"]
    assert said.out.endswith(f"{FETCH}\n")


@pytest.mark.parametrize(
    ("words", "finished", "what"),
    [
        ((), False, None),
        ((), True, "a finished run of configs/a.yaml is there"),
        (("--learning-rate", "3e-6"), False, "another text or other options reached checkpoint-10"),
        ((), None, "checkpoint-10 is there without cloud-run.json, which says whose it is"),
    ],
)
def test_run_continues_or_is_refused_before_a_container_starts(
    typed, project, modal_service, jobs, words, finished, what
):
    typed(*TRAIN)
    files = {"a/checkpoint-9/x": b"", "a/checkpoint-10/x": b""}
    if finished is not None:
        state = {"run": digest(jobs[0]), "config": NAME, "finished": finished}
        files["a/cloud-run.json"] = json.dumps(state).encode()
    modal_service.put_volume("runs", files)
    modal_service.calls.clear()
    said = typed(*TRAIN, *words)
    if what is None:
        assert "continues from checkpoint-10, or the one before" in said.out and jobs[1] == jobs[0]
        return
    assert said.code == 1 and what in said.err and said.err.count("\n") == 1
    assert "or delete it: `modal volume rm -r runs a`." in said.err
    assert not modal_service.named("AppCreate")
    fix = "--resume-from-checkpoint=./outputs/a/checkpoint-10"
    assert fix in said.err and typed(*TRAIN, *words, fix).code == 0
    assert (jobs[-1]["words"][-1], jobs[-1]["resume"]) == (fix, False)


def test_second_start_of_a_running_run_is_refused(typed, modal_service, jobs):
    typed(*TRAIN)
    state = {"run": digest(jobs[0]), "config": "a", "finished": False, "call": "fc-another"}
    modal_service.put_volume("runs", {"a/cloud-run.json": json.dumps(state).encode()})
    said = typed(*TRAIN)
    assert said.code == 1 and "a run of a is under way there. Wait for its end" in said.err


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (("*", Status.UNAUTHENTICATED, "Token ID is malformed"), "there is no valid token here (Token ID is malformed). Run `modal token new`."),
        (("VolumeGetOrCreate", Status.PERMISSION_DENIED, "No write access"), "the token lacks a right (No write access). Ask"),
        (("FunctionCreate", Status.INVALID_ARGUMENT, "No GPU of type L40S"), "it refuses this GPU (No GPU of type L40S). Set another gpu in cloud.yaml."),
        (("AppCreate", Status.RESOURCE_EXHAUSTED, "Too many apps"), "the workspace is at a limit (Too many apps). See `modal app list`."),
        (("AppCreate", Status.FAILED_PRECONDITION, "Workspace is closed"), "Workspace is closed. See https://modal.com/docs"),
        (("AppCreate", Status.ABORTED, "Try later"), "Try later. See https://modal.com/docs"),
        (("AppCreate", Status.INTERNAL, None), "InternalError. See https://modal.com/docs"),
        (("VolumeListFiles", Status.UNAVAILABLE, "Down"), "Down. See https://modal.com/docs"),
    ],
    ids=lambda value: value[1].name if isinstance(value, tuple) else "",
)  # fmt: skip
def test_modals_refusal_is_one_line(typed, modal_service, jobs, refusal, said):
    modal_service.refusals[refusal[0]] = refusal[1:]
    found = typed(*TRAIN)
    assert found.code == 1 and found.err.startswith(f"axolotl-grpo-plugin: Modal: {said}")
    assert found.err.count("\n") == 1 and jobs == [] and "volume get" not in found.out


def test_missing_secret_is_found_before_the_app_exists(typed, project, modal_service, jobs):
    project.cloud(secrets=[{"modal": "none"}])
    said = typed(*TRAIN)
    assert "there is no such Secret (Secret 'none' not found" in said.err
    assert not modal_service.named("AppCreate")


@pytest.mark.parametrize(
    ("token", "said"), [(False, "there is no valid token here"), (True, "it does not answer")]
)
def test_without_a_token_or_a_network(typed, no_token, monkeypatch, token, said):
    if token:
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-test")
        monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-test")
    found = typed(*TRAIN)
    assert found.code == 1 and found.err.startswith(f"axolotl-grpo-plugin: Modal: {said}")


def test_failed_build_shows_its_reason(typed, modal_service, jobs):
    modal_service.failed_build = (
        "Collecting x",
        "pip failed\nERROR: No matching distribution for x",
    )
    said = typed(*TRAIN)
    assert "the image build failed (pip failed ERROR: No matching distribution for x)" in said.err
    assert said.err.count("\n") == 1 and "Collecting x" in said.out


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (exception.FunctionTimeoutError("hit its timeout"), "Modal: the run reached its timeout"),
        (exception.InternalFailure("lost"), "Modal: it lost the container (lost)"),
        (exception.InputCancellation(), "Modal: the container ended (stopped, out of memory or lost)"),
        (ValueError("no such file\nmore"), "the container's function failed (ValueError: no such file)"),
        (OSError(28, "No space left"), "the container's function failed (OSError: [Errno 28] No space"),
    ],
)  # fmt: skip
def test_container_that_breaks_off_is_one_line(typed, modal_service, error, what):
    modal_service.answer = raising(error)
    said = typed(*TRAIN)
    assert said.code == 1 and said.err.startswith(f"axolotl-grpo-plugin: {what}")
    assert said.err.count("\n") == 1 and said.out.splitlines()[-1] == FETCH


@pytest.mark.parametrize("text", ["None", ""])
def test_error_without_text_is_named_by_its_type(text):
    assert start.line(exception.ServiceError(text)).startswith("ServiceError. See https")


def test_without_modals_client(typed, monkeypatch):
    from axolotl_grpo_plugin.cloud import launcher

    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    said = typed(*TRAIN)
    assert said.code == 1 and 'Run `pip install "axolotl-grpo-plugin[modal]"`.' in said.err
