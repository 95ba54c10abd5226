"""`--cloud cloud.yaml` as Axolotl's command line hands it over, and the whole way in processes of its own."""

import sys

import click
import pytest
import yaml
from modal_proto import api_pb2

from axolotl_grpo_plugin.commands import fetch
from tests.cloud.modal_service import ModalService
from tests.cloud.project import CLOUD, NAME, axolotl

TRAIN = ("train", NAME, "--cloud", "cloud.yaml")
SHIPPED = "configs/gsm8k/qwen2.5-1.5b-full-2gpu.yaml"
KEYS = {"HF_TOKEN": "hf_not_to_be_seen", "WANDB_API_KEY": "wandb_not_to_be_seen"}
UNSENT = (".env", ".git/config", ".venv/pyvenv.cfg", "outputs/gsm8k/model.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The README's commands: `axolotl grpo fetch`, then a training. The service, the process, the folder."""
    folder = tmp_path_factory.mktemp("working")
    fetch.configs(str(folder))
    for name in UNSENT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not to be sent")
    words = ("--learning-rate", "1e-6", "--trl.beta", "0.1", "--num-processes", "1")
    with ModalService() as service:
        got = []
        service.answer = lambda args, kwargs: service.log("loss 0.1") or got.append(args[0]) or 3
        token = {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        ran = axolotl(
            *("train", SHIPPED, "--cloud", "cloud.yaml", *words),
            cwd=folder,
            MODAL_SERVER_URL=service.url,
            **token,
            **KEYS,
        )
        assert "loss 0.1" in ran.stdout, ran.stdout + ran.stderr
        yield service, ran, folder, got


whole = pytest.mark.xdist_group("the cloud, from a shell")


@whole
@pytest.mark.seconds(40)
def test_what_is_asked_of_modal(trained):
    service, *_ = trained
    function = service.function
    assert (function.module_name, function.function_name) == (
        "axolotl_grpo_plugin.cloud.remote",
        "run",
    )
    assert function.definition_type == api_pb2.Function.DEFINITION_TYPE_FILE
    assert function.resources.gpu_config == api_pb2.GPUConfig(gpu_type="L40S", count=2)
    assert (function.resources.milli_cpu, function.resources.memory_mb) == (8000, 65536)
    assert function.timeout_secs == 21600
    assert service.volumes() == {
        "/workspace/outputs": "axolotl-grpo-outputs",
        "/cache": "axolotl-grpo-cache",
    }
    assert service.image_layers()[0].dockerfile_commands[0].startswith("FROM nvidia/cuda:13.")


@whole
def test_what_the_container_gets(trained):
    service, _, folder, got = trained
    (job,) = got
    assert job == {
        "command": ["grpo", "train"],
        "config": SHIPPED,
        "text": (folder / SHIPPED).read_text(),
        "words": ["--learning-rate=1e-6", "--trl.beta=0.1"],
        "after": ["--num-processes", "1"],
        "output": "./outputs/gsm8k-qwen2.5-1.5b-full-2gpu",
        "volumes": service.volumes(),
        "resume": True,
    }
    parcel = {name for name in service.mounted() if name.startswith("/parcel/")}
    wanted = {f"/parcel/{file.relative_to(folder)}" for file in folder.rglob("*") if file.is_file()}
    assert parcel == wanted - {f"/parcel/{name}" for name in UNSENT}
    assert f"/parcel/{SHIPPED}" in parcel and "/parcel/rewards/true_equation.py" in parcel


@whole
def test_keys_are_in_modals_secrets_alone(trained):
    service, ran, *_ = trained
    assert service.secrets() == {"": {**KEYS, "AXOLOTL_DO_NOT_TRACK": "1"}}
    for name, request in service.calls:
        sent = request.SerializeToString()
        hidden = all(value.encode() not in sent for value in KEYS.values())
        assert hidden or name == "SecretGetOrCreate"
    sent = b"".join(service.mounted().values())
    for value in KEYS.values():
        assert value not in ran.stdout + ran.stderr
        assert value.encode() not in sent


@whole
def test_what_the_user_sees(trained):
    _, ran, *_ = trained
    assert ran.returncode == 3
    lines = ran.stdout.splitlines()
    assert "  secrets   HF_TOKEN, WANDB_API_KEY" in lines
    assert lines[-1] == (
        "mkdir -p outputs && modal volume get axolotl-grpo-outputs "
        "gsm8k-qwen2.5-1.5b-full-2gpu outputs"
    )
    assert "Traceback" not in ran.stdout + ran.stderr


@whole
@pytest.mark.seconds(40)
def test_grpo_train_hands_it_on(trained):
    folder = trained[2]
    words = ("grpo", "train", SHIPPED, "--cloud=cloud.yaml", "--dry-run", "--max-steps", "3")
    ran = axolotl(*words, cwd=folder, MODAL_SERVER_URL="http://127.0.0.1:1")
    assert ran.returncode == 0, ran.stderr
    assert f"  runs      axolotl grpo train {SHIPPED} --max-steps=3\n" in ran.stdout
    assert "\n  costs     at most $28.75 for one attempt" in ran.stdout
    assert ran.stdout.endswith("the attempt that follows a preemption\n")  # the last that is said


@pytest.fixture
def launcher(typed):
    """The module, where Axolotl is imported already."""
    from axolotl_grpo_plugin.cloud import launcher

    return launcher


@pytest.fixture
def jobs(modal_service):
    got = []
    modal_service.answer = lambda args, kwargs: got.append(args[0]) or 0
    return got


@pytest.mark.parametrize(
    ("typed_words", "words", "after"),
    [
        (("--learning-rate", "1e-6"), ["--learning-rate=1e-6"], []),
        (("--vllm.max-model-len=2048",), ["--vllm.max-model-len=2048"], []),
        (("--trl.log-completions", "--no-strict"), ["--no-strict", "--trl.log-completions"], []),
        (("--trl.scale-rewards", "no"), ["--trl.scale-rewards=no"], []),
        (("--launcher", "torchrun"), ["--launcher=torchrun"], []),
        (("--launcher", "torchrun", "--nproc-per-node", "1"), ["--launcher=torchrun"], ["--nproc-per-node", "1"]),
        (("--launcher", "python"), ["--launcher=python"], []),
        (("--output-dir", "outputs/a b"), ["--output-dir=outputs/a b"], []),
        (("--", "--main_process_port", "1"), [], ["--main_process_port", "1"]),
    ],
)  # fmt: skip
def test_the_options_arrive(typed, jobs, typed_words, words, after):
    said = typed(*TRAIN, *typed_words)
    assert said.code == 0, said
    (job,) = jobs
    assert (job["words"], job["after"]) == (words, after)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("./configs/../configs/a.yaml", NAME),
        ("../elsewhere/b.yaml", "b.yaml"),
        ("{folder}/configs/a.yaml", NAME),
    ],
)
def test_where_the_config_is_there(typed, project, jobs, config, name):
    project.write("../elsewhere/b.yaml", project.text())
    typed("train", config.format(folder=project.folder), "--cloud", "cloud.yaml")
    assert [job["config"] for job in jobs] == [name]
    assert jobs[0]["text"] == project.text()


def test_a_config_of_the_web(typed, project, jobs, monkeypatch):
    downloaded = project.write("../tmp/a.yaml", project.text())
    at = project.folder / downloaded
    monkeypatch.setattr("axolotl.cli.config.check_remote_config", lambda config: at)
    typed("train", "https://a.b/c/a.yaml?raw=1", "--cloud", "cloud.yaml")
    assert [job["config"] for job in jobs] == ["a.yaml"]


def test_a_sweep_trains_each(typed, project, jobs):
    project.write("sweep.yaml", yaml.safe_dump({"learning_rate": [1e-6, 2e-6]}))
    typed(*TRAIN, "--sweep", "sweep.yaml")
    assert [job["output"] for job in jobs] == ["outputs/a/sweep0001", "outputs/a/sweep0002"]
    assert {yaml.safe_load(job["text"])["learning_rate"] for job in jobs} == {1e-6, 2e-6}
    assert {job["config"] for job in jobs} == {NAME}


def test_python_code_may_call_it(launcher, project, jobs):
    made = launcher.ModalLauncher.from_config(CLOUD, config_dir=project.folder)
    assert made.get_local_dirs(project.folder) == {"/parcel": str(project.folder)}
    assert made.train(project.text(), learning_rate="2e-6", trl__beta=0.1) is None
    (job,) = jobs
    assert (job["config"], job["words"]) == (
        "config.yaml",
        ["--learning-rate=2e-6", "--trl.beta=0.1"],
    )
    with pytest.raises(TypeError, match="`axolotl train` has no option learning_rat"):
        made.train(project.text(), learning_rat="2e-6")
    with click.Context(click.Command("mine")) as of_another_program:
        of_another_program.params = {"config": "mine.yaml", "seed": 3}
        made.preprocess(project.text())
    assert (jobs[-1]["command"], jobs[-1]["config"]) == (["preprocess"], "config.yaml")
    assert jobs[-1]["words"] == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"gpus": 2}, "cloud.yaml: gpus: no such key. Did you mean 'gpu'."),
        ({"gpu": "L40"}, "cloud.yaml: gpu (L40): no GPU of Modal's that is known here."),
        ({"env": {"HF_TOKEN": "hf_x"}}, "cloud.yaml: env (HF_TOKEN): a secret by its name"),
        ({"timeout": "6h"}, "cloud.yaml: timeout (6h): should be a valid integer."),
    ],
)
def test_a_wrong_cloud_yaml(typed, project, no_token, keys, said):
    project.cloud(**keys)
    found = typed(*TRAIN)
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith(f"axolotl-grpo-plugin: {said}")
    assert found.err.count("\n") == 1
    assert "hf_x" not in found.err


def test_without_modals_client(typed, project, monkeypatch):
    """The plugin is installed without its extra."""
    for name in [each for each in sys.modules if each.split(".")[0] == "modal"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("launcher", "start", "image", "secrets", "errors", "volume"):
        monkeypatch.delitem(sys.modules, f"axolotl_grpo_plugin.cloud.{name}", raising=False)
    said = typed(*TRAIN)
    assert (said.code, said.out, said.err) == (
        1,
        "",
        "axolotl-grpo-plugin: Modal: its client is not installed. "
        'pip install "axolotl-grpo-plugin[modal]"\n',
    )
