"""A Slurm cluster of Debian's packages on this machine: `Cluster(folder).start()`, as root.

Each node is a process with namespaces for network, host name, mounts and processes. So it has its own address, name,
ports and /tmp, and everything on it ends with that process. The nodes share all other folders of this machine.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from types import SimpleNamespace

from tests.conftest import ROOT

PACKAGES = ("slurm-wlm", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "munged", "mungekey", "srun")
FREEZER = Path("/sys/fs/cgroup/freezer")  # of cgroup v1, which Slurm 22.05 needs for proctrack/cgroup
NETWORK = "10.77.0"
HEAD = "gn0"  # runs slurmctld and munged
CONF = """
ClusterName=heng
SlurmctldHost=gn0({network}.10)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=30
MpiDefault=none
NodeName=gn[1-{nodes}] CPUs=32 RealMemory=8000 State=UNKNOWN NodeAddr={network}.1[1-{nodes}]
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
"""
# Run in a node's namespaces. $1: its name. $2: the cluster's folder. The others: folders that stay visible in /tmp.
NODE = """
name=$1 folder=$2; shift 2
hostname "$name"
mount --bind "$folder/hosts" /etc/hosts
aside=$(mktemp -d -p /var/tmp)
for kept in "$@"; do mkdir -p "$aside$kept"; mount --bind "$kept" "$aside$kept"; done
mount -t tmpfs tmpfs /tmp
for kept in "$@"; do mkdir -p "$kept"; mount --bind "$aside$kept" "$kept"; umount "$aside$kept"; done
rm -r "$aside"
if [ -d /sys/fs/cgroup/freezer/$name ]; then mount --bind /sys/fs/cgroup/freezer/$name /sys/fs/cgroup/freezer; fi
touch "$folder/$name.up"
exec sleep infinity
"""


def missing():
    """Return the reason why no cluster can run here, "" if one can. Install the packages by apt if they are missing."""
    if os.geteuid():
        return "a Slurm cluster needs root"
    if all(map(which, PROGRAMS)):
        return ""
    if not which("apt-get"):
        return "Slurm is missing, and so is apt"
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    for command in (["apt-get", "update"], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return f"apt cannot install Slurm: {done.stderr[-300:]}"
    return ""


def run(*command, **options):
    """Run a command, and return what it printed."""
    words = [*map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def until(condition, seconds, describe=lambda: ""):
    """Wait until the condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, describe()
        time.sleep(0.2)
    return value


class Cluster:
    """slurmctld on gn0, and slurmd on gn1, gn2 and so on."""

    def __init__(self, folder, nodes, proctrack):
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.names = [f"gn{number}" for number in range(nodes + 1)]
        self.anchors = {}  # the process that holds a node's namespaces
        self.daemons = {}
        names = "".join(f"{NETWORK}.1{number} {name}\n" for number, name in enumerate(self.names))
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        self.conf.write_text(CONF.format(folder=folder, nodes=nodes, proctrack=proctrack, network=NETWORK))
        if proctrack == "cgroup":
            (folder / "cgroup.conf").write_text(
                "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainCores=no\n"
            )
        self.proctrack = proctrack

    def start(self):
        (self.folder / "state").mkdir()
        for name in self.names:
            self._make_node(name)
        self._ip(HEAD, "link", "add", "name", "bridge", "type", "bridge")
        self._ip(HEAD, "link", "set", "bridge", "up")
        for number, name in enumerate(self.names):
            self._connect(name, f"{NETWORK}.1{number}/24")
        self.on(HEAD, "mungekey", "--create", "--keyfile", self.folder / "munge.key")
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        socket = self.folder / "munge.socket"
        self._daemon("munged", HEAD, "munged", "--foreground", "--force", f"--socket={socket}", *files)
        until(socket.exists, 20)
        self._daemon("slurmctld", HEAD, "slurmctld", "-D", "-f", self.conf)
        for name in self.names[1:]:
            (self.folder / f"spool-{name}").mkdir()
            self.start_slurmd(name)
        until(lambda: self.idle() == self.names[1:], 60, lambda: self.on(HEAD, "sinfo", "-N", "-l"))

    def start_slurmd(self, name):
        self._daemon(f"slurmd-{name}", name, "slurmd", "-D", "-f", self.conf)

    def idle(self):
        """Return the names of the nodes that can take a job."""
        return self.on(HEAD, "sinfo", "-N", "-h", "-t", "idle", "-o", "%N").split()

    def stop(self):
        """End everything on all nodes, and remove what the cluster has changed on this machine."""
        for anchor in self.anchors.values():
            anchor.kill()  # and with it all processes of its namespace
        for process in [*self.anchors.values(), *self.daemons.values()]:
            process.wait(timeout=60)
        for name in self.names:
            until(lambda: _remove_cgroups(FREEZER / name), 30)  # noqa: B023

    def kill_node(self, name):
        """End a node at once, with its slurmd and all its jobs."""
        self.anchors[name].kill()
        self.anchors[name].wait(timeout=60)

    def kill_slurmd(self, name):
        """Kill a node's slurmd, but not its jobs."""
        pid = int((self.folder / f"slurmd-{name}.pid").read_text())
        self.on(name, "kill", "-9", pid)

    def on(self, name, *command, **options):
        """Run a command on a node, and return what it printed."""
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return run(*self._enter(name), *command, env=env, **options)

    def submit(self, script, *words, cwd, env=None):
        """Submit a batch script with sbatch's words before it and its own words after it. Return the job."""
        before, after = words
        binaries = Path(sys.executable).parent
        variables = {
            "SLURM_CONF": str(self.conf),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "AXOLOTL_DO_NOT_TRACK": "1",
            **(env or {}),
        }
        command = [*self._enter(HEAD), f"--wd={cwd}", "sbatch", "--parsable", *before, script, *after]
        return Job(self, run(*command, env={**os.environ, **variables}), cwd)

    def _make_node(self, name):
        if self.proctrack == "cgroup":
            (FREEZER / name).mkdir(exist_ok=True)
        visible = []
        for path in (self.folder, ROOT, Path(sys.prefix), Path(sys.base_prefix)):
            if path.is_relative_to("/tmp"):
                visible.append(path)
        namespaces = ["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        words = ["unshare", *namespaces, "bash", "-euc", NODE, "bash", name, self.folder, *visible]
        with (self.folder / f"{name}.log").open("w") as log:
            self.anchors[name] = subprocess.Popen([*map(str, words)], stdout=log, stderr=log)
        until((self.folder / f"{name}.up").exists, 20, (self.folder / f"{name}.log").read_text)

    def _inside(self, name):
        """Return the id of the first process in a node's namespaces, as this machine counts."""
        parent = self.anchors[name].pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text())

    def _enter(self, name):
        return ["nsenter", "-t", str(self._inside(name)), "-n", "-u", "-m", "-p"]

    def _connect(self, name, address):
        """Connect a node to the bridge on gn0."""
        pair = ["type", "veth", "peer", "name", "eth0", "netns", self._inside(name)]
        self._ip(HEAD, "link", "add", f"to-{name}", *pair)
        self._ip(HEAD, "link", "set", f"to-{name}", "master", "bridge", "up")
        self._ip(name, "address", "add", address, "dev", "eth0")
        for device in ("eth0", "lo"):
            self._ip(name, "link", "set", device, "up")

    def _ip(self, name, *words):
        """Change a node's network, with the process ids of this machine."""
        run("nsenter", "-t", self._inside(name), "-n", "ip", *words)

    def _daemon(self, title, name, *command):
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        with (self.folder / f"{title}.out").open("a") as log:
            words = [*self._enter(name), *map(str, command)]
            self.daemons[title] = subprocess.Popen(words, env=env, stdout=log, stderr=log)


def _remove_cgroups(folder):
    """Remove a cgroup and those below it. Return whether it is gone."""
    for below in sorted(folder.rglob("*/"), reverse=True):
        try:
            below.rmdir()
        except OSError:
            return False
    if folder.exists():
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def _seconds(clock):
    """Return the seconds of hours:minutes:seconds."""
    hours, minutes, seconds = map(int, clock.split(":"))
    return hours * 3600 + minutes * 60 + seconds


class Job:
    """A job that was submitted."""

    def __init__(self, cluster, number, cwd):
        self.cluster = cluster
        self.id = number
        self.log = Path(cwd, f"grpo-{number}.log")

    def facts(self):
        """Return Slurm's record of the job."""
        shown = self.cluster.on(HEAD, "scontrol", "show", "job", self.id, "-o")
        known = dict(word.partition("=")[::2] for word in shown.split())
        return SimpleNamespace(
            state=known["JobState"],
            nodes=known["NodeList"],
            restarts=int(known["Restarts"]),
            seconds=_seconds(known["RunTime"]),
        )

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until(self, condition, seconds=900):
        """Wait until the condition holds while the job runs."""

        def holds():
            assert self.facts().state in ("PENDING", "RUNNING", "COMPLETING"), self.text()[-6000:]
            return condition()

        return until(holds, seconds, lambda: self.text()[-6000:])

    def end(self, seconds=900):
        """Wait for the job's end, and return Slurm's record of it."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        until(lambda: self.facts().state in ended, seconds, lambda: self.text()[-6000:])
        return self.facts()

    def scontrol(self, *words):
        return self.cluster.on(HEAD, "scontrol", *words)

    def cancel(self):
        self.cluster.on(HEAD, "scancel", self.id)

    def pids(self, name, words):
        """Return the ids, on a node, of processes whose command line contains these words."""
        shown = self.cluster.on(name, "ps", "-eww", "-o", "pid,args")
        return [int(line.split()[0]) for line in shown.splitlines() if words in line]

    def kill(self, name, pid, number=signal.SIGKILL):
        self.cluster.on(name, "kill", f"-{int(number)}", pid)
