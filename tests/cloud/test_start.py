"""A start on Modal, by Axolotl's own commands and Modal's own client: what is said, asked and sent."""

import shlex
import subprocess
import sys

import pytest
from grpclib import Status
from modal import exception
from modal_proto import api_pb2

from axolotl_grpo_plugin.cloud.gpus import parse
from axolotl_grpo_plugin.cloud.remote import digest
from axolotl_grpo_plugin.commands.check import machine_of
from tests.cloud.project import CONFIG, NAME

TRAIN = ("train", NAME, "--cloud", "cloud.yaml")
PREPROCESS = ("preprocess", NAME, "--cloud", "cloud.yaml")
JUDGE = {"grpo_reward_args": {"judge": {"base_url": "http://127.0.0.1:8/v1"}}}
FETCH = "mkdir -p outputs && modal volume get runs a outputs"


@pytest.fixture
def jobs(modal_service):
    """The jobs that the container got."""
    got = []
    modal_service.answer = lambda args, kwargs: got.append(args[0]) or 0
    return got


def disconnects(service):
    name = api_pb2.AppDisconnectReason.Name
    return [name(each.reason) for each in service.named("AppClientDisconnect")]


def raising(error):
    def answer(args, kwargs):
        raise error

    return answer


def test_a_training(typed, project, modal_service, jobs):
    said = typed(*TRAIN)
    assert (said.code, said.last) == (0, FETCH)
    assert jobs == [
        {
            "command": ["grpo", "train"],
            "config": NAME,
            "text": project.text(),
            "words": [],
            "after": [],
            "output": "./outputs/a",
            "volumes": {"/workspace/outputs": "runs", "/cache": "kept"},
            "resume": True,
        }
    ]
    assert modal_service.function.timeout_secs == 21600
    assert modal_service.function.startup_timeout_secs == 1800
    assert disconnects(modal_service) == ["APP_DISCONNECT_REASON_ENTRYPOINT_COMPLETED"]


def test_the_line_that_is_printed_fetches_the_output(
    typed, project, modal_service, jobs, monkeypatch
):
    said = typed(*TRAIN)
    modal_service.put_volume("runs", {"a/model.safetensors": b"new", "a/b/c.txt": b"c"})
    made, _, get = said.last.partition(" && ")
    assert made == "mkdir -p outputs"
    (project.folder / "outputs").mkdir()
    command = [sys.executable, "-m", *shlex.split(get)]
    subprocess.run(command, check=True, cwd=project.folder, capture_output=True)
    output = project.folder / "outputs" / "a"
    assert (output / "model.safetensors").read_bytes() == b"new"
    assert (output / "b" / "c.txt").read_bytes() == b"c"


def test_without_an_output_dir_it_is_axolotls(typed, project, modal_service, jobs):
    project.cloud(volumes=[{"name": "runs", "mount": "./model-out"}])
    project.config(output_dir=None)
    assert typed(*TRAIN).last == "mkdir -p model-out && modal volume get runs / model-out"
    assert jobs[0]["output"] == "./model-out"


@pytest.mark.parametrize("code", [0, 1, 130, 137])
def test_the_exit_code_is_the_trainings(typed, modal_service, code):
    modal_service.answer = lambda args, kwargs: code
    said = typed(*TRAIN)
    assert (said.code, said.last) == (code, FETCH)
    failed = f"It ended with exit code {code}. The log above says why.\n{FETCH}\n"
    assert said.out.endswith(failed) is bool(code)


def test_what_is_printed_in_order(typed, project, modal_service):
    modal_service.answer = lambda args, kwargs: modal_service.log("loss 0.1") or 0
    out = typed(*TRAIN).out
    lines = [NAME, "  OK but", "  runs ", "  sends ", "  image ", "  volumes ", "  secrets ",
             "  costs ", "View run at", "loss 0.1", "modal volume get"]  # fmt: skip
    found = [out.index(line) for line in lines]
    assert found == sorted(found)
    assert "  runs      axolotl grpo train configs/a.yaml\n" in out
    assert "  volumes   runs at /workspace/outputs, kept at /cache\n" in out
    assert "  secrets   none; not set here: HF_TOKEN, WANDB_API_KEY\n" in out
    assert "at most $28.75 for one attempt" in out


def test_a_dry_run_asks_nobody(typed, no_token, project):
    said = typed(*TRAIN, "--dry-run", "--learning-rate", "2e-6")
    assert said.code == 0
    assert "  runs      axolotl grpo train configs/a.yaml --learning-rate=2e-6\n" in said.out
    assert (
        "  costs     at most $28.75 for one attempt: $4.79 an hour x 6 h of timeout\n" in said.out
    )
    assert "\n            2 x L40S at $1.95 an hour" in said.out
    project.cloud(dry_run=True)
    assert typed(*TRAIN).code == typed(*PREPROCESS).code == 0


@pytest.mark.parametrize(
    ("words", "placement"),
    [
        ((), "3 processes on GPU 0, 1, 2; vLLM on GPU 3"),
        (("--num-processes", "2"), "2 processes on GPU 0, 1; vLLM on GPU 3"),
        (("--launcher", "python"), "1 process on GPU 0; vLLM on GPU 3"),
    ],
)
def test_the_checks_are_for_the_containers_gpus(typed, project, no_token, words, placement):
    project.cloud(gpu="L40S:4")
    project.config(gradient_accumulation_steps=8)
    assert f"  placement {placement}\n" in typed(*TRAIN, "--dry-run", *words).out


def test_the_memory_of_a_gpu_is_said_as_one_reads_it():
    assert machine_of(2, parse("L40S:2").gb, None).gib == 44.7


def test_preprocess(typed, project, modal_service, jobs):
    project.config(skip_prepare_dataset=None, dataset_prepared_path="./outputs/prepared")
    assert typed(*PREPROCESS, "--debug", "--dataset-processes", "4").code == 0
    (job,) = jobs
    assert (job["command"], job["words"]) == (
        ["preprocess"],
        ["--debug", "--dataset-processes=4"],
    )
    assert modal_service.function.resources.gpu_config == api_pb2.GPUConfig()
    assert modal_service.function.resources.milli_cpu == 8000
    project.config(skip_prepare_dataset=None)
    said = typed(*PREPROCESS)
    assert said.code == 1
    assert "error     dataset_prepared_path (./last_run_prepared): on no Volume" in said.out
    assert len(jobs) == 1


def test_a_detached_run(typed, project, modal_service, jobs):
    typed(*TRAIN)
    assert modal_service.app.app_state == api_pb2.APP_STATE_EPHEMERAL
    project.cloud(detach=True)
    project.config(output_dir="./outputs/b")
    typed(*TRAIN)
    assert modal_service.app.app_state == api_pb2.APP_STATE_DETACHED


@pytest.mark.parametrize("detach", [False, True])
def test_ctrl_c_while_it_runs(typed, project, modal_service, detach):
    project.cloud(detach=detach)
    modal_service.answer = modal_service.forever
    modal_service.interrupt("FunctionGetOutputs")
    said = typed(*TRAIN)
    assert (said.code, said.last, said.err) == (130, FETCH, "")
    assert disconnects(modal_service) == ["APP_DISCONNECT_REASON_KEYBOARD_INTERRUPT"]


@pytest.mark.parametrize("rpc", ["VolumeListFiles", "ImageJoinStreaming", "FunctionCreate"])
def test_ctrl_c_before_it_runs(typed, modal_service, jobs, rpc):
    modal_service.interrupt(rpc)
    said = typed(*TRAIN)
    assert (said.code, said.last, said.err) == (130, "Stopped. Nothing runs.", "")
    assert jobs == []


def state(job, finished=False):
    return f'{{"run": "{digest(job)}", "config": "{NAME}", "finished": {str(finished).lower()}}}'


def test_a_run_that_was_cut_off_goes_on(typed, modal_service, jobs):
    typed(*TRAIN)
    files = {"a/cloud-run.json": state(jobs[0]).encode(), "a/checkpoint-9/x": b"", "a/checkpoint-10/x": b""}  # fmt: skip
    modal_service.put_volume("runs", files)
    said = typed(*TRAIN)
    assert (
        "this run goes on from checkpoint-10, or an earlier one if that is incomplete" in said.out
    )
    assert jobs[1] == jobs[0]


@pytest.mark.parametrize(
    ("words", "finished", "what"),
    [
        ((), True, "a finished run of configs/a.yaml is there"),
        (("--learning-rate", "3e-6"), False, "got to checkpoint-10 with another config text or"),
    ],
)
def test_what_must_not_start_is_refused_before_a_container_is_asked_for(
    typed, modal_service, jobs, words, finished, what
):
    typed(*TRAIN)
    files = {"a/cloud-run.json": state(jobs[0], finished).encode(), "a/checkpoint-10/x": b""}
    modal_service.put_volume("runs", files)
    modal_service.calls.clear()
    said = typed(*TRAIN, *words)
    assert said.code == 1
    assert said.err.startswith("axolotl-grpo-plugin: ./outputs/a on the Volume runs: ")
    assert what in said.err
    assert said.err.count("\n") == 1
    assert {name for name, _ in modal_service.calls} <= {
        "VolumeGetOrCreate",
        "VolumeListFiles",
        "VolumeGetFile2",
    }
    fix = "--resume-from-checkpoint=./outputs/a/checkpoint-10"
    assert fix in said.err
    assert typed(*TRAIN, *words, fix).code == 0
    assert jobs[-1]["words"][-1] == fix
    assert jobs[-1]["resume"] is False


def test_a_config_that_resumes_by_itself_is_let_be(typed, project, modal_service, jobs):
    typed(*TRAIN)
    modal_service.put_volume("runs", {"a/cloud-run.json": state(jobs[0], True).encode()})
    project.config(auto_resume_from_checkpoints=True)
    assert typed(*TRAIN).code == 0
    assert jobs[-1]["resume"] is False


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (
            ("*", Status.UNAUTHENTICATED, "Token ID is malformed"),
            "the token is refused (Token ID is malformed). Run `modal token new`.",
        ),
        (
            ("VolumeGetOrCreate", Status.PERMISSION_DENIED, "No write access to runs."),
            "this token may not do that (No write access to runs). Ask the workspace's owner for "
            "the right to it, or name Volumes and Secrets of your own in cloud.yaml.",
        ),
        (
            ("FunctionCreate", Status.INVALID_ARGUMENT, "No GPU of type L40S"),
            "does not give this GPU (No GPU of type L40S). Set another gpu or gpu_count in "
            "cloud.yaml; https://modal.com/docs/guide/gpu has all.",
        ),
        (
            ("AppCreate", Status.RESOURCE_EXHAUSTED, "Too many apps"),
            "the workspace's limit is reached (Too many apps). Stop other apps (`modal app "
            "list`), or look at the plan's limits.",
        ),
        (
            ("AppCreate", Status.FAILED_PRECONDITION, "Client too old"),
            "this client does not fit (Client too old). pip install --upgrade modal.",
        ),
        (
            ("AppCreate", Status.UNAVAILABLE, "Down"),
            "Down. See https://modal.com/docs, or https://status.modal.com.",
        ),
    ],
    ids=lambda value: value[1].name if isinstance(value, tuple) else "",
)
def test_what_modal_refuses(typed, modal_service, jobs, refusal, line):
    modal_service.refuse(*refusal)
    said = typed(*TRAIN)
    assert (said.code, said.err) == (1, f"axolotl-grpo-plugin: Modal: {line}\n")
    assert jobs == []
    assert "modal volume get" not in said.out


def test_without_a_token(typed, no_token):
    said = typed(*TRAIN)
    assert said.code == 1
    line = "there is no token here (Token missing). Run `modal token new`.\n"
    assert said.err == f"axolotl-grpo-plugin: Modal: {line}"


def test_without_a_network(typed, no_token, monkeypatch):
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-test")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-test")
    said = typed(*TRAIN)
    assert said.code == 1
    assert said.err == (
        "axolotl-grpo-plugin: Modal: does not answer (Could not connect to the Modal server). "
        "Look at the network, and at https://status.modal.com.\n"
    )


def test_an_image_that_cannot_be_built(typed, project, modal_service, jobs):
    modal_service.fail_image("ERROR: No matching distribution")
    said = typed(*TRAIN)
    assert said.code == 1
    assert "ERROR: No matching distribution" in said.out
    assert "the image cannot be built, and its log above says why" in said.err
    assert said.err.endswith("Look at image, apt_install and pip_install in cloud.yaml.\n")
    assert said.err.count("\n") == 1
    assert "modal volume get" not in said.out


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (exception.FunctionTimeoutError("hit its timeout"), "cloud.yaml's timeout is over"),
        (exception.InternalFailure("lost"), "lost the container (lost)"),
        (exception.InputCancellation(), "the container was ended (the app stopped, memory out"),
        (exception.RemoteError("no driver"), "the container was ended"),
    ],
)
def test_a_container_that_ends_early(typed, modal_service, error, what):
    modal_service.answer = raising(error)
    said = typed(*TRAIN)
    assert (said.code, said.last) == (1, FETCH)
    assert said.err.startswith(f"axolotl-grpo-plugin: Modal: {what}")
    assert "The same command goes on from the last checkpoint" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("cloud", "config", "words", "said"),
    [
        ({"gpu": None}, {}, (), "trl.use_vllm: the image's vLLM serves on GPUs. Set gpu in"),
        ({"gpu": "T4:2"}, {"bf16": True}, (), "bf16: a T4 has no bfloat16"),
        ({"gpu": "T4:2"}, {"bf16": True}, (), "vllm.dtype: a T4 has no bfloat16"),
        (
            {"gpu": "L40S"},
            {},
            (),
            "vllm: 1 GPU is visible, and this config wants 2: 1 for vLLM (tensor_parallel_size x "
            "data_parallel_size), 1 to train on. Set gpu in cloud.yaml to so many",
        ),
        ({}, {"output_dir": "./runs/a"}, (), "output_dir (./runs/a): on no Volume"),
        ({}, {"wandb_project": "p"}, (), "wandb_project (p): WANDB_API_KEY is not set here"),
        ({}, {}, ("--wandb-project", "p"), "wandb_project (p): WANDB_API_KEY is not set here"),
        ({"max_size": 0.0001}, {}, (), "cloud.yaml: max_size (0.0001 MB): 0.0 MB in"),
        ({"ignore": ["data"]}, {}, (), "datasets[0].path (data/train.jsonl): it is not sent"),
        ({}, {"plugins": None}, (), "plugins: the plugin that asks for the server is not named"),
        ({}, JUDGE, (), "grpo_reward_args.judge.base_url: an address of"),
        ({}, {"use_ray": True}, (), "use_ray: a container is one machine"),
        ({}, {"rl": "dpo"}, (), "rl: 'dpo' is not started here. Write provider: modal"),
        ({}, {}, ("--learning-rat", "1"), "--learning-rat: neither an option of `axolotl train`"),
        ({}, {}, ("--num-processes", "2"), "vllm: 2 GPUs are visible, and this config wants 3"),
        (
            {},
            {},
            ("--launcher", "torchrun", "--num-processes", "1"),
            "--num-processes: torchrun has no such option",
        ),
    ],
)
def test_what_is_known_to_fail_asks_nobody(typed, project, no_token, cloud, config, words, said):
    project.cloud(**cloud)
    project.config(**config)
    found = typed(*TRAIN, *words)
    assert found.code == 1
    assert f"  error     {said}" in found.out
    assert found.err == ""
    assert "  costs " not in found.out


@pytest.mark.parametrize(
    "keys",
    [
        {"base_model": "./outputs/sft"},
        {"base_model": "/cache/model"},
        {"tokenizer_config": "/cache/model"},
        {"resume_from_checkpoint": "./outputs/x/checkpoint-10"},
        {"datasets": [{"path": "/cache/d.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}]},
        {"datasets": [{"path": "/cache/d", "type": "axolotl_grpo_plugin.gsm8k"}]},
        {"test_datasets": [{"path": "./outputs/d", "type": "axolotl_grpo_plugin.gsm8k"}]},
        {"deepspeed": "/cache/zero3.json"},
        {"chat_template_jinja": "/cache/t.jinja"},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_what_is_on_a_volume_is_not_looked_for_here(typed, project, no_token, keys):
    project.config(**keys)
    said = typed(*TRAIN, "--dry-run")
    assert said.code == 0, said.out
    assert " it must be on the Volume " in said.out


def test_a_server_is_not_looked_for_here(typed, project, no_token):
    """The container reaches it, or not: this machine cannot say."""
    judge = "axolotl_grpo_plugin.rewards.judge.judge"
    trl = {**CONFIG["trl"], "reward_funcs": [judge]}
    gold = {"model": "m", "base_url": "http://judge.invalid/v1", "gold": "answer"}
    project.config(trl=trl, grpo_reward_args={judge: gold})
    assert "nothing answers" not in typed(*TRAIN, "--dry-run").out


def test_an_error_beside_it_still_counts(typed, project, no_token):
    """wandb_project is no path, though a Volume is mounted at a folder of its name."""
    project.config(base_model="./outputs/sft", wandb_project="outputs")
    assert "1 error" in typed(*TRAIN).out
