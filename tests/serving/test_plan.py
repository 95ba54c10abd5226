"""Plans for one machine and Slurm. A script stands in for Slurm's scontrol."""

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.serving.address import settle_address
from axolotl_grpo_plugin.serving.nodes import check_first_node, planned, slurm
from axolotl_grpo_plugin.serving.plan import CommandLine, Plan, SlurmPlan, environment
from axolotl_grpo_plugin.serving.plan import plan_of as plan_for
from tests.conftest import script


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    for name in ("SLURM_JOB_NODELIST", "SLURM_NNODES", "SLURM_STEP_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)


def call(*typed, launcher="accelerate", after=(), processes=None):
    return CommandLine("c.yaml", launcher, list(typed), {}, list(after), processes)


def config(mode="server", **more):
    vllm = {"host": "127.0.0.1", "port": 8000, **more.pop("vllm", {})}
    cfg = {"base_model": "m", "trl": {"use_vllm": True, "vllm_mode": mode}, **more, "vllm": vllm}
    settle_address(Config(cfg))
    return cfg


def plan_of(call, cfg, gpus):
    return plan_for(call, cfg, gpus, slurm())


def commands(plan):
    return [part.command() for part in plan.parts()]


def test_plans_one_machine():
    plan = plan_of(call("--max-steps", "3", after=["--main_process_port", "1"]), Config(config()), "0 1 2 3".split())
    assert type(plan) is Plan
    assert plan.placement.processes == 3
    assert commands(plan) == [
        "CUDA_VISIBLE_DEVICES=3 axolotl vllm-serve c.yaml",
        "CUDA_VISIBLE_DEVICES=0,1,2 axolotl train c.yaml --max-steps 3 --num-processes 3 -- --main_process_port 1",
    ]


def test_keeps_the_users_number_of_processes():
    plan = plan_of(call("--num-processes=1", processes=1), Config(config()), ["0", "1", "2"])
    assert commands(plan)[1] == "CUDA_VISIBLE_DEVICES=0 axolotl train c.yaml --num-processes=1"
    plan = plan_of(call(launcher="torchrun"), Config(config()), ["0", "1"])
    assert commands(plan)[1].endswith("c.yaml --nproc-per-node 1")


def test_passes_colocate_configs_on_unchanged():
    (command,) = commands(plan_of(call("--max-steps", "3"), Config(config("colocate")), ["0", "1"]))
    assert command == "CUDA_VISIBLE_DEVICES=0,1 axolotl train c.yaml --max-steps 3"


@pytest.mark.parametrize(
    "given, more, added",
    [
        (call(), {}, True),
        (call("--launcher", "accelerate"), {}, False),
        (call("--sweep", "s.yaml"), {}, False),
        (call(processes=1), {}, False),
        (call(after=["--debug"]), {}, False),
        (call(), {"deepspeed": "zero3.json"}, False),
    ],
)
def test_one_process_needs_no_launcher(given, more, added):
    (command,) = commands(plan_of(given, Config(config("colocate", **more)), ["0"]))
    assert ("--launcher python" in command) == added


@pytest.fixture
def job(monkeypatch, tmp_path):
    script(tmp_path / "scontrol", '[ "$*" = "show hostnames n[1-3]" ] && printf "n1\\nn2\\nn3\\n"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    variables = "NODEID=1 NNODES=3 STEP_NUM_NODES=3 STEP_NUM_TASKS=3 JOB_ID=7 JOB_NODELIST=n[1-3]"
    for variable in variables.split():
        name, _, value = variable.partition("=")
        monkeypatch.setenv(f"SLURM_{name}", value)
    return monkeypatch


def test_plans_slurm_nodes(job):
    cfg = config(vllm={"host": "0.0.0.0", "tensor_parallel_size": 4})
    plan = plan_of(call(), Config(cfg), "0 1 2 3".split())
    assert type(plan) is SlurmPlan
    assert plan.placement.processes == 8
    rendezvous = "--rdzv_backend static --rdzv_endpoint n2:29507 --rdzv_id 7"
    train = "CUDA_VISIBLE_DEVICES=0,1,2,3 axolotl train c.yaml --launcher torchrun --trl.vllm-server-host=n1"
    assert commands(plan) == [
        "n1: CUDA_VISIBLE_DEVICES=0,1,2,3 axolotl vllm-serve c.yaml",
        f"n2: {train} -- --nnodes 2 --nproc_per_node 4 --node_rank 0 {rendezvous}",
        f"n3: {train} -- --nnodes 2 --nproc_per_node 4 --node_rank 1 {rendezvous}",
    ]
    assert plan.parts()[plan.own].node == "n2"
    assert not plan.serves_here
    job.setenv("SLURM_NODEID", "0")
    assert plan_of(call(), Config(cfg), "0 1 2 3".split()).serves_here


def test_slurm_without_a_server_trains_on_all_nodes(job):
    plan = plan_of(call(), Config(config("colocate")), ["0", "1"])
    assert plan.placement.processes == 6
    assert [part.node for part in plan.parts()] == ["n1", "n2", "n3"]
    assert "--rdzv_endpoint n1:29507" in commands(plan)[2]


UNREACHABLE = r"vllm.host \({}\): the other nodes cannot reach the server. Set it to 0.0.0.0"


@pytest.mark.parametrize(
    "tasks, vllm, text",
    [
        ("6", {}, "several tasks per node. Set --ntasks-per-node=1"),
        ("3", {"tensor_parallel_size": 8}, "vLLM needs 8 GPUs on the first node, which has 4"),
        ("3", {}, UNREACHABLE.format("127.0.0.1")),
    ],
)
def test_refuses_slurm_jobs_that_cannot_work(job, tasks, vllm, text):
    cfg = config(vllm=vllm)
    job.setenv("SLURM_STEP_NUM_TASKS", tasks)
    with pytest.raises(FindingError, match=text):
        plan_of(call(), Config(cfg), "0 1 2 3".split())


def test_nodes_without_a_gpu_train_on_their_cpus(job):
    plan = plan_of(call(), Config({"base_model": "m"}), [])
    assert plan.placement.processes == 3
    rendezvous = "--rdzv_backend static --rdzv_endpoint n1:29507 --rdzv_id 7"
    words = "n3: axolotl train c.yaml --launcher torchrun -- --nnodes 3 --nproc_per_node 1 --node_rank 2"
    assert commands(plan)[2] == f"{words} {rendezvous}"
    serving = plan_of(call(processes=2), Config(config(vllm={"host": "0.0.0.0"})), [])
    assert commands(serving)[0] == "n1: axolotl vllm-serve c.yaml"
    assert serving.placement.processes == 4


def test_plans_nodes_without_a_job():
    cfg = config(vllm={"host": "0.0.0.0", "tensor_parallel_size": 2})
    plan = plan_for(call(), Config(cfg), ["0", "1"], planned(2))
    rendezvous = "--rdzv_backend static --rdzv_endpoint node2:29500 --rdzv_id JOB"
    train = "axolotl train c.yaml --launcher torchrun --trl.vllm-server-host=node1"
    assert commands(plan) == [
        "node1: CUDA_VISIBLE_DEVICES=0,1 axolotl vllm-serve c.yaml",
        f"node2: CUDA_VISIBLE_DEVICES=0,1 {train} -- --nnodes 1 --nproc_per_node 2 --node_rank 0 {rendezvous}",
    ]
    assert planned(1) is None


def test_a_host_of_the_config_is_not_added_to_the_command(job):
    cfg = config(trl={"use_vllm": True, "vllm_server_host": "n1-ib"}, vllm={"host": "0.0.0.0"})
    plan = plan_of(call(), Config(cfg), ["0"])
    assert plan.first_node == ""
    assert "vllm-server-host" not in commands(plan)[1]


@pytest.mark.parametrize(
    ("host", "codes"),
    [("127.0.0.1", []), ("127.0.0.2", []), ("192.0.2.7", ["not-first-node"]), ("gn1.invalid", ["not-first-node"])],
)
def test_refuses_a_host_that_is_another_node(host, codes):
    """The run.yaml of an earlier version pins the first node of its job."""
    cfg = config(trl={"use_vllm": True, "vllm_server_host": host}, vllm={"host": "0.0.0.0"})
    assert [finding.code for finding in check_first_node(Config(cfg))] == codes


def test_slurm_needs_srun(job):
    job.delenv("SLURM_STEP_NUM_NODES")
    with pytest.raises(FindingError, match="Start it with srun"):
        plan_of(call(), Config(config()), ["0"])


def test_slurm_needs_scontrol(job, tmp_path):
    """A container on a cluster often lacks it."""
    job.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(FindingError, match="scontrol is missing, so the nodes have no names"):
        plan_of(call(), Config(config()), ["0"])


def test_server_gets_the_vllm_options():
    given = CommandLine("c.yaml", "accelerate", ["--vllm.port=1"], {"vllm__port": "1"}, [], None)
    assert commands(plan_of(given, Config(config()), ["0", "1"]))[0].endswith("vllm-serve c.yaml --port=1")


def test_environment_shows_only_these_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert environment(["1"])["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment([])["CUDA_VISIBLE_DEVICES"] == "0,1"  # a CPU run: as it is
