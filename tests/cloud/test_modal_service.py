"""The service answers Modal's real client: what arrives, what comes back, and what is left."""

import os
import signal
import threading

import modal
import psutil
import pytest
from grpclib import Status
from modal import exception
from modal_proto import api_pb2

TIMED_OUT = "Task's current input hit its timeout of 3600s"


def train(config, *, seed=0):
    raise AssertionError("it runs on Modal only")


@pytest.fixture
def nothing_left():
    before = _left()
    yield
    assert _left() == before


@pytest.fixture(autouse=True)
def python_s_ctrl_c():
    """A worker of pytest-xdist may have another handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _left():
    sockets = {(each.fd, each.laddr) for each in psutil.Process().net_connections()}
    modal_s = {name for name in os.environ if name.startswith("MODAL_")}
    return set(threading.enumerate()), sockets, modal_s


def an_app(**options):
    app = modal.App("a-run", include_source=False)
    options.setdefault("image", modal.Image.from_registry("python:3.12"))
    return app, app.function(**options)(train)


def result_of(app, function, *args, **kwargs):
    with app.run():
        return function.spawn(*args, **kwargs).get()


def raising(exc):
    def answer(args, kwargs):
        raise exc

    return answer


def disconnect(service):
    (request,) = service.named("AppClientDisconnect")
    return api_pb2.AppDisconnectReason.Name(request.reason)


def test_a_whole_run(nothing_left, modal_service, tmp_path, capsys):
    """Everything a launcher sends, as it arrives; a file and arguments too big for a message too."""
    here = tmp_path / "here"
    (here / "rewards").mkdir(parents=True)
    (here / "config.yaml").write_text("rl: grpo\n")
    (here / "rewards" / "mine.py").write_bytes(b"#" * 5_000_000)
    (here / ".env").write_text("HF_TOKEN=hf_secret\n")
    modal_service.stored["wandb"] = {"WANDB_API_KEY": "w"}
    modal_service.answer = lambda args, kwargs: modal_service.log("loss 0.1") or (args, kwargs)
    app, function = an_app(
        image=modal.Image.from_registry("nvidia/cuda:12.8.1-devel-ubuntu24.04", add_python="3.12")
        .uv_pip_install("axolotl[vllm]==0.21.0")
        .add_local_dir(here / "rewards", "/copied", copy=True)
        .env({"HF_HOME": "/cache"})
        .add_local_dir(here, "/parcel", ignore=[".env"]),
        gpu="L40S:2",
        timeout=3600,
        secrets=[modal.Secret.from_dict({"HF_TOKEN": "hf"}), modal.Secret.from_name("wandb")],
        volumes={"/out": modal.Volume.from_name("outputs", create_if_missing=True)},
    )

    with modal.enable_output():
        result = result_of(app, function, "c" * 20_000, seed=3)

    assert result == (("c" * 20_000,), {"seed": 3})
    assert "loss 0.1" in capsys.readouterr().out
    assert modal_service.app.description == "a-run"
    sent = modal_service.function
    assert (sent.module_name, sent.function_name) == (train.__module__, "train")
    assert sent.definition_type == api_pb2.Function.DEFINITION_TYPE_FILE
    assert sent.timeout_secs == 3600
    assert sent.resources.gpu_config == api_pb2.GPUConfig(gpu_type="L40S", count=2)
    base, pip, copied, env = modal_service.image_layers()
    assert base.dockerfile_commands[0] == "FROM nvidia/cuda:12.8.1-devel-ubuntu24.04"
    assert "'axolotl[vllm]==0.21.0'" in pip.dockerfile_commands[-1]
    assert copied.context_mount_id
    assert env.dockerfile_commands[-1] == "ENV HF_HOME=/cache"
    assert modal_service.secrets() == {"": {"HF_TOKEN": "hf"}, "wandb": {"WANDB_API_KEY": "w"}}
    assert modal_service.volumes() == {"/out": "outputs"}
    assert sorted(modal_service.mounted()) == [
        "/copied/mine.py",
        "/parcel/config.yaml",
        "/parcel/rewards/mine.py",
    ]
    modal_service.materialize(tmp_path / "container")
    assert (tmp_path / "container/parcel/config.yaml").read_text() == "rl: grpo\n"
    assert (tmp_path / "container/copied/mine.py").stat().st_size == 5_000_000
    assert disconnect(modal_service) == "APP_DISCONNECT_REASON_ENTRYPOINT_COMPLETED"


@pytest.mark.parametrize(
    ("outcome", "kind", "text"),
    [
        (ValueError("no such file"), ValueError, "no such file"),
        (SystemExit(3), SystemExit, "3"),
        (exception.FunctionTimeoutError(TIMED_OUT), exception.FunctionTimeoutError, TIMED_OUT),
        (exception.InternalFailure("lost"), exception.InternalFailure, "lost"),
        (exception.RemoteError("it did not start"), exception.RemoteError, "it did not start"),
        (exception.InputCancellation(), exception.RemoteError, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_function_raises(modal_service, outcome, kind, text):
    modal_service.answer = raising(outcome)
    with pytest.raises(kind) as raised:
        result_of(*an_app(), "c.yaml")
    assert str(raised.value) == text
    assert disconnect(modal_service) == "APP_DISCONNECT_REASON_LOCAL_EXCEPTION"


def test_a_call_that_is_cancelled(modal_service):
    modal_service.answer = modal_service.forever
    app, function = an_app()
    with app.run(), pytest.raises(exception.RemoteError):
        call = function.spawn("c.yaml")
        call.cancel()
        call.get()


@pytest.mark.parametrize("detach", [False, True])
def test_ctrl_c_while_the_function_runs(modal_service, detach):
    """Modal's client says so to the server, and the code behind the block goes on as if not."""
    modal_service.answer = modal_service.forever
    modal_service.interrupt("FunctionGetOutputs")
    app, function = an_app()
    reached = []
    with app.run(detach=detach):
        function.spawn("c.yaml").get()
        reached.append("the result")
    reached.append("the end")
    assert reached == ["the end"]
    assert disconnect(modal_service) == "APP_DISCONNECT_REASON_KEYBOARD_INTERRUPT"
    state = api_pb2.APP_STATE_DETACHED if detach else api_pb2.APP_STATE_EPHEMERAL
    assert modal_service.app.app_state == state


def test_ctrl_c_while_the_image_is_built(modal_service):
    modal_service.interrupt("ImageJoinStreaming")
    with pytest.raises(KeyboardInterrupt):
        result_of(*an_app(), "c.yaml")
    assert disconnect(modal_service) == "APP_DISCONNECT_REASON_KEYBOARD_INTERRUPT"
    assert modal_service.function is None


@pytest.mark.parametrize(
    ("rpc", "status", "kind"),
    [
        ("*", Status.UNAUTHENTICATED, exception.AuthError),
        ("*", Status.FAILED_PRECONDITION, exception.ConflictError),
        ("AppCreate", Status.UNAVAILABLE, exception.ServiceError),
        ("AppCreate", Status.RESOURCE_EXHAUSTED, exception.ResourceExhaustedError),
        ("VolumeGetOrCreate", Status.PERMISSION_DENIED, exception.PermissionDeniedError),
        ("FunctionCreate", Status.INVALID_ARGUMENT, exception.InvalidError),
    ],
)
def test_what_modal_refuses(modal_service, rpc, status, kind):
    modal_service.refuse(rpc, status, "not with us")
    volume = modal.Volume.from_name("outputs", create_if_missing=True)
    with pytest.raises(kind, match=r"^not with us$"):
        result_of(*an_app(gpu="XYZ", volumes={"/out": volume}), "c.yaml")


def test_what_is_not_there(modal_service):
    volume, secret = modal.Volume.from_name("outputs"), modal.Secret.from_name("wandb")
    with pytest.raises(exception.NotFoundError, match="Volume 'outputs' not found"):
        result_of(*an_app(volumes={"/out": volume}), "c.yaml")
    with pytest.raises(exception.NotFoundError, match="Secret 'wandb' not found"):
        result_of(*an_app(secrets=[secret]), "c.yaml")


@pytest.mark.parametrize("reason", ["", "exit status: 1"])
def test_an_image_that_cannot_be_built(modal_service, capsys, reason):
    modal_service.fail_image("ERROR: No matching distribution", reason)
    with pytest.raises(exception.RemoteError, match=r"^Image build for im-[0-9]+ failed") as raised:
        result_of(*an_app(), "c.yaml")
    assert reason in str(raised.value)
    assert capsys.readouterr() == ("", "")
    with modal.enable_output(), pytest.raises(exception.RemoteError):
        result_of(*an_app(), "c.yaml")
    assert "ERROR: No matching distribution" in capsys.readouterr().out


def test_without_a_token(no_token, capsys):
    with modal.enable_output(), pytest.raises(exception.AuthError, match=r"^Token missing"):
        result_of(*an_app(), "c.yaml")
    assert capsys.readouterr() == ("", "")


def test_without_a_network(no_token, monkeypatch):
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-test")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-test")
    with pytest.raises(exception.ConnectionError, match="Could not connect to the Modal server"):
        result_of(*an_app(), "c.yaml")


@pytest.mark.parametrize("version", [1, 2])
def test_a_volume(modal_service, version):
    modal_service.put_volume("outputs", {"run/state.json": b"{}", "run/a/b.bin": b"12", "x": b""})
    volume = modal.Volume.from_name("outputs", version=version)

    def listed(path, **options):
        return {(each.path, each.type.name, each.size) for each in volume.listdir(path, **options)}

    assert listed("/") == {("run", "DIRECTORY", 0), ("x", "FILE", 0)}
    assert listed("run") == {("run/a", "DIRECTORY", 0), ("run/state.json", "FILE", 2)}
    assert listed("/run/", recursive=True) == listed("run") | {("run/a/b.bin", "FILE", 2)}
    assert listed("run/state.json") == {("run/state.json", "FILE", 2)}
    assert b"".join(volume.read_file("run/a/b.bin")) == b"12"
    with pytest.raises(exception.NotFoundError):
        volume.listdir("walk")
    with pytest.raises(FileNotFoundError):
        list(volume.read_file("run/none"))
    volume.commit()
    assert len(modal_service.named("VolumeCommit")) == 1


def test_a_call_that_the_service_does_not_have_is_named(modal_service):
    with pytest.raises(exception.UnimplementedError, match="DictGetOrCreate"):
        modal.Dict.from_name("a-dict").hydrate()
