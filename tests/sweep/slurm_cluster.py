"""A real Slurm on this machine for the tests: two nodes with four GPUs each that are only names, and no accounting.

Needs the programs alone (`apt-get install munge slurmctld slurmd slurm-client`), no root, systemd, cgroups or GPU:
every file, socket and port is the cluster's own.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("node1", "node2")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits cred_expire + 1 seconds before it may start again; 120 by default, 5 is the least.
AuthInfo=socket={root}/munge.sock,cred_expire=5
MpiDefault=none
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
# No cgroups: works in containers.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=512
# Lets a node claim more than the machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
JobRequeue=1
# Jobs in `high` preempt those in `debug`: their warning at once, SIGTERM after GraceTime, SIGKILL after KillWait.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=5
MinJobAge=300
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=32000 Gres=gpu:a100:4 Feature=f1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=32000 Gres=gpu:v100:4 Feature=f2
PartitionName=debug Nodes=ALL Default=YES DefaultTime=10 MaxTime=24:00:00 PriorityTier=1 GraceTime=15 State=UP
PartitionName=high Nodes=ALL DefaultTime=10 MaxTime=24:00:00 PriorityTier=10 PreemptMode=OFF State=UP
"""
GRES = """\
AutoDetect=off
NodeName=node1 Name=gpu Type=a100 File={root}/gpu[0-3] Flags=nvidia_gpu_env
NodeName=node2 Name=gpu Type=v100 File={root}/gpu[0-3] Flags=nvidia_gpu_env
"""


def missing() -> list[str]:
    """Programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


class SlurmCluster:
    """A cluster of its own; :meth:`begin` starts it, :meth:`destroy` leaves nothing behind."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.root.chmod(0o755)
        self.host = socket.gethostname().partition(".")[0]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find this cluster."""
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": PATH}

    def begin(self) -> SlurmCluster:
        """Start all daemons, and wait until both nodes take jobs."""
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.root / name).mkdir()
        for number in range(4):
            (self.root / f"gpu{number}").symlink_to("/dev/null")  # Slurm takes character devices alone
        values = {"root": self.root, "host": self.host, "user": getpass.getuser(), "ports": _free_ports(3)}
        (self.root / "slurm.conf").write_text(CONFIG.format(**values))
        (self.root / "gres.conf").write_text(GRES.format(**values))
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        places = {
            "key-file": key,
            "socket": self.root / "munge.sock",
            "pid-file": self.root / "munged.pid",
            "log-file": self.root / "munged.log",
            "seed-file": self.root / "munged.seed",
        }
        self._start("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in places.items()))
        self._until((self.root / "munge.sock").exists, "munged")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self._until(lambda: self.ask("sinfo", "-h", "-p", "debug", "-o", "%T").split() == ["idle"], "the nodes")
        return self

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._start("slurmctld", "-D", "-f", str(self.root / "slurm.conf"))
        self._until(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on."""
        self._end("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self._start("slurmd", "-D", "-f", str(self.root / "slurm.conf"), "-N", node)

    def ask(self, *command: str) -> str:
        """What a command of Slurm's says; empty where it fails."""
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **self.environment}
        )
        return done.stdout if done.returncode == 0 else ""

    def do(self, *command: str) -> None:
        """Run a command of Slurm's that must succeed."""
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **self.environment}
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def jobs(self, *options: str) -> dict[str, tuple[str, str]]:
        """State and node of each job, by id."""
        lines = self.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%N", *options).splitlines()
        return {number: (state, node) for number, state, node in (line.split("|") for line in lines)}

    def quiet(self, timeout: float = 60) -> None:
        """Cancel every job and wait until none is left; bring back every node."""
        self.ask("scancel", "--user", getpass.getuser())
        for node in NODES:
            if self.ask("sinfo", "-h", "-n", node, "-p", "debug", "-o", "%T").strip().startswith(("down", "drain")):
                self.ask("scontrol", "update", f"nodename={node}", "state=resume")
        self._until(
            lambda: self.ask("sinfo", "-h", "-p", "debug", "-o", "%T").split() == ["idle"], "idle nodes", timeout
        )

    def destroy(self) -> None:
        """End everything and remove the folder."""
        self.ask("scancel", "--user", getpass.getuser())
        until = time.monotonic() + 10
        while self.ask("squeue", "-h") and time.monotonic() < until:
            time.sleep(0.2)
        for name in reversed(list(self._running)):
            self._end(name)
        shutil.rmtree(self.root, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=PATH)
        assert program is not None
        key = f"{name}-{arguments[-1]}" if name == "slurmd" else name
        with (self.root / f"{key}.out").open("ab") as output:
            self._running[key] = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "HOME": str(self.root), "LC_ALL": "C.UTF-8", **self.environment},
                start_new_session=True,
            )

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _until(self, true: Callable[[], Any], what: str, timeout: float = 60) -> None:
        until = time.monotonic() + timeout
        while not true():
            if time.monotonic() > until:
                logs = "\n".join(f"--- {p.name}\n{p.read_text()[-2000:]}" for p in self.root.glob("*.log"))
                raise RuntimeError(f"{what}: not there within {timeout:.0f} s\n{self.ask('sinfo', '-N', '-l')}\n{logs}")
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
