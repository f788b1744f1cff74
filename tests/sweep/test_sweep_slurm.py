"""`hydra/launcher=slurm` on a real Slurm of two nodes with four GPUs each; through the toy app, as a person types it.

What takes longer (time limits, lost nodes, a stopped controller) is measured by `tests/bench/slurm_faults.py`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyrm.sweep import SweepError
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

SETTINGS = "hydra.sweeper.settings"
SLURM = [
    "hydra/launcher=slurm",
    f"{SETTINGS}.name=s",
    f"{SETTINGS}.heartbeat_s=0.3",
    "hydra.launcher.poll_s=0.5",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.timeout_min=30",
]


def records(toy: Any) -> list[TrialRecord]:
    """The trials, once there is a study."""
    url = f"journal:///{toy.folder}/multirun/sweeps.journal"
    return Study(open_storage(url, create=False), "s", 10).records()


def until(true: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Wait until it is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            found = true()
        except Exception:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {timeout} s")


def jobs_of(toy: Any) -> list[dict[str, Any]]:
    """What was submitted."""
    lines = (toy.folder / "multirun" / "s" / "workers" / "slurm" / "jobs.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def node_of(record: TrialRecord) -> str:
    return record.worker.partition("@")[2].partition(":")[0]


class TestAGrid:
    def test_four_workers_on_two_nodes_see_gpus_of_their_own(self, toy: Any, slurm: Any) -> None:
        options = [*SLURM, f"{SETTINGS}.workers=4", "hydra.launcher.cpus_per_task=4"]
        code, output = toy.run(*options, "x=1,2,3,4", "y=0,1", "seconds=1")
        assert code == 0, output
        assert toy.noted("begin") == toy.noted("end") == Counter(range(8))
        done = records(toy)
        assert [r.values["value"] for r in done] == [110.0, 111.0, 120.0, 121.0, 130.0, 131.0, 140.0, 141.0]
        seats = {(node_of(r), r.devices) for r in done}
        assert len(seats) == len({r.worker for r in done}) == 4  # on a node no two have the same
        assert {node for node, _ in seats} == {"node1", "node2"}
        assert all(len(devices.split(",")) == 1 for _, devices in seats)
        until(lambda: {slurm.jobs()[job["id"]][0] for job in jobs_of(toy)} == {"COMPLETED"}, "the jobs' end")
        with (toy.folder / "multirun" / "s" / "trials.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 8

    def test_what_a_setup_takes_from_the_environment_is_written_nowhere(self, toy: Any, slurm: Any) -> None:
        secret = "open-sesame-and-more-7"
        setup = ["export TAKEN=${oc.env:PLANTED}", 'printf %s "$TAKEN" | sha256sum > taken']
        options = [f"{SETTINGS}.workers=1", f"hydra.launcher.setup={json.dumps(setup)}", "x=1"]
        code, told = toy.run(*SLURM, *options, f"{SETTINGS}.dry_run=true", PLANTED=secret)
        assert code == 0 and "\nexport TAKEN=${PLANTED}\n" in told and secret not in told, told
        code, output = toy.run(*SLURM, *options, PLANTED=secret)
        assert code == 0 and secret not in output, output
        assert (toy.folder / "taken").read_text().split()[0] == hashlib.sha256(secret.encode()).hexdigest()
        files = [path for path in toy.folder.rglob("*") if path.is_file()]
        assert any(b"export TAKEN=${PLANTED}" in path.read_bytes() for path in files)  # the script is among them
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


class TestBeforeAnythingIsSubmitted:
    def test_a_dry_run_prints_the_script(self, toy: Any, slurm: Any) -> None:
        options = [
            *("hydra.launcher.partition=high", "hydra.launcher.account=lab", "hydra.launcher.qos=long"),
            *("hydra.launcher.constraint=f1", "hydra.launcher.mem_gb=12", "hydra.launcher.signal_delay_s=60"),
            *(
                "hydra.launcher.setup=['module load cuda','export A=1']",
                "hydra.launcher.python=apptainer exec x.sif python",
            ),
        ]
        code, output = toy.run(*SLURM, f"{SETTINGS}.workers=4", f"{SETTINGS}.dry_run=true", *options, "x=1,2,3,4,5")
        assert code == 0, output
        for line in (
            *(
                "account=lab",
                "array=0-3%4",
                "constraint=f1",
                "cpus-per-task=1",
                "gpus-per-node=1",
                "mem=12GB",
                "nodes=1",
            ),
            *(
                "ntasks-per-node=1",
                "open-mode=append",
                "partition=high",
                "qos=long",
                "requeue",
                "signal=USR2@60",
                "time=30",
            ),
        ):
            assert f"#SBATCH --{line}\n" in output
        assert "module load cuda\nexport A=1\n" in output
        assert "--kill-on-bad-exit=1 apptainer exec x.sif python -u -m submitit.core._submit" in output
        assert not (toy.folder / "multirun").exists() and not slurm.jobs("--state=RUNNING,PENDING")

    @pytest.mark.parametrize(
        ("bad", "told"),
        [
            (["hydra.launcher.partition=debgu"], "there is no 'debgu'. Did you mean 'debug'?"),
            (
                ["hydra.launcher.gpus_per_node=8"],
                "asks for 8 GPUs; a node of partition debug has at most 4: use hydra.launcher.gpus_per_node=4.",
            ),
            (["hydra.launcher.cpus_per_task=9"], "at most 8: use hydra.launcher.cpus_per_task=8."),
            (["hydra.launcher.mem_gb=64"], "at most 31: use hydra.launcher.mem_gb=31."),
            (["hydra.launcher.timeout_min=2000"], "partition debug allows 1440 minutes"),
            (["hydra.launcher.constraint=f3"], "constraint=f3: no node of debug has it. Choose one of: f1, f2."),
            (["hydra.launcher.nodes=2"], "nodes=2: what a worker takes follows from its trials"),
            ([f"{SETTINGS}.nodes_per_trial=3"], "nodes_per_trial=3: partition debug has 2 nodes: use at most so many."),
            (["hydra.launcher.signal_delay_s=1740"], "leaves nothing of timeout_min=30: Slurm may warn 60 s earlier"),
            ([f"{SETTINGS}.storage=sqlite:///x.db"], "use journal:///FILE"),
            (
                ["hydra.launcher.additional_parameters={export:NONE}", "hydra.launcher.setup=['cd ${oc.env:HOME}']"],
                "reads HOME from the environment, which hydra.launcher.additional_parameters.export=NONE keeps",
            ),
            ([f"{SETTINGS}.dir=/proc/none"], "sweep.dir=/proc/none cannot be written (/proc"),
        ],
        ids=lambda value: value[0].rpartition(".")[2] if isinstance(value, list) else "",
    )
    def test_what_cannot_run_is_refused(self, engine: Any, slurm: Any, bad: list[str], told: str) -> None:
        quiet = [o for o in SLURM if not any(o.partition("=")[0] == b.partition("=")[0] for b in bad)]
        with pytest.raises(SweepError) as refused:
            engine.sweep(lambda config: 1.0, *quiet, *bad, "x=1,2")
        assert told in str(refused.value)
        assert not slurm.jobs("--state=RUNNING,PENDING")

    def test_a_machine_without_slurm_is_told_where_to_go(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
        with pytest.raises(SweepError, match=r"needs sbatch.*login node"):
            engine.sweep(lambda config: 1.0, *SLURM, "x=1,2")

    def test_other_launchers_cannot_be_detached_from(self, engine: Any) -> None:
        with pytest.raises(SweepError, match="detach=true needs hydra/launcher=slurm"):
            engine.sweep(lambda config: 1.0, f"{SETTINGS}.detach=true", "x=1,2")

    def test_other_launchers_cannot_join_nodes(self, engine: Any) -> None:
        with pytest.raises(SweepError, match="nodes_per_trial=2 needs hydra/launcher=slurm"):
            engine.sweep(lambda config: 1.0, f"{SETTINGS}.nodes_per_trial=2", "x=1,2")

    def test_a_trial_on_two_nodes_takes_a_process_a_device(self, toy: Any, slurm: Any) -> None:
        options = [f"{SETTINGS}.nodes_per_trial=2", f"{SETTINGS}.devices_per_trial=3", f"{SETTINGS}.dry_run=true"]
        code, output = toy.run(*SLURM, *options, "x=1,2")
        assert code == 0, output
        for line in ("nodes=2", "ntasks-per-node=3", "gpus-per-node=3"):
            assert f"#SBATCH --{line}\n" in output

    def test_what_slurm_refuses_is_told_in_its_words(self, toy: Any, slurm: Any) -> None:
        code, output = toy.run(*SLURM, "hydra.launcher.additional_parameters={reservation:none}", "x=1,2")
        assert code == 2 and "Slurm refuses the workers" in output and "reservation" in output.lower()


class TestEnds:
    def test_a_worker_that_fails_fails_its_job(self, toy: Any, slurm: Any, tmp_path: Path) -> None:
        (tmp_path / "tinyrm.py").write_text("raise ModuleNotFoundError('No module named tinyrm')\n", encoding="utf-8")
        setup = f"hydra.launcher.setup=['export PYTHONPATH={tmp_path}']"  # as on a node without the installation
        code, output = toy.run(*SLURM, f"{SETTINGS}.workers=2", setup, "x=1,2")
        assert code == 2, output
        assert "all 2 workers failed; the first is job" in output and "ModuleNotFoundError" in output
        assert {slurm.jobs()[job["id"]][0] for job in jobs_of(toy)} == {"FAILED"}

    def test_a_trial_that_fails_fails_its_workers_job_after_the_rest(self, toy: Any, slurm: Any) -> None:
        code, output = toy.run(*SLURM, f"{SETTINGS}.workers=1", "mode=fine,raise,fine", "x=1,2")
        assert code == 3 and "2 of 4 trials failed for good" in output, output
        (job,) = jobs_of(toy)
        until(lambda: slurm.jobs()[job["id"]][0] == "FAILED", "the job's end")
        assert "3:0" in slurm.ask("scontrol", "show", "job", job["id"])


class TestInterruptions:
    """In each the sweep ends complete, no trial ends twice, and what is lost is at most one checkpoint interval."""

    def start(self, toy: Any, *options: str) -> subprocess.Popen[str]:
        """Two workers, three trials; the first two hold after four steps."""
        self.hold = toy.folder / "hold"
        self.hold.touch()
        process = toy.start(*SLURM, f"{SETTINGS}.workers=2", "x=1,2,3", "seconds=1", f"hold={self.hold}", *options)
        until(lambda: len(self.held(toy)) == 2, "two trials at their fourth step")
        return process

    def held(self, toy: Any) -> dict[int, str]:
        """Running trials that have come to the fourth step, and their jobs."""
        running = [r for r in records(toy) if r.state == "running" and r.alive]
        at = [r for r in running if (r.folder / "checkpoint").read_text().split()[0] == "4"]
        return {r.number: r.worker.partition("@")[0] for r in at}

    def finish(self, toy: Any, process: subprocess.Popen[str]) -> str:
        self.hold.unlink(missing_ok=True)
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output
        self.check(toy)
        return output

    def check(self, toy: Any) -> None:
        assert toy.noted("end") == Counter(range(3))
        assert [r.values["value"] for r in records(toy)] == [110.5, 120.5, 130.5]
        assert [r.info["work"] for r in records(toy)] == [20, 40, 60]  # every step was done once
        lines = [line.split() for line in toy.notes.read_text().splitlines()]
        assert {int(line[2]) for line in lines if line[0] == "begin"} <= {0, 4}  # from the checkpoint, or the beginning

    def test_a_warned_job_checkpoints_requeues_and_goes_on(self, toy: Any, slurm: Any) -> None:
        process = self.start(toy)
        job = self.held(toy)[0]
        slurm.do("scancel", "--signal=USR2", job)
        until(lambda: slurm.jobs()[job][0] == "PENDING", "the job back in the queue")
        until(lambda: slurm.jobs()[job][0] == "RUNNING", "the job running again")
        until(lambda: 0 in self.held(toy), "the trial going on")
        self.finish(toy, process)
        assert toy.noted("begin") == Counter({0: 2, 1: 1, 2: 1})
        until(lambda: {slurm.jobs()[j["id"]][0] for j in jobs_of(toy)} == {"COMPLETED"}, "the jobs' end")

    def test_a_cancelled_worker_leaves_its_trial_to_the_other(self, toy: Any, slurm: Any) -> None:
        process = self.start(toy)
        job = self.held(toy)[0]
        slurm.do("scancel", job)
        until(lambda: slurm.jobs()[job][0] == "CANCELLED", "the job's end")
        until(lambda: records(toy)[0].state == "waiting", "the trial's return")
        self.finish(toy, process)
        assert len(jobs_of(toy)) == 2  # none was submitted in its place: there was one left

    def test_jobs_go_on_without_the_sweeps_own_process(self, toy: Any, slurm: Any) -> None:
        process = self.start(toy)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.hold.unlink()
        until(lambda: len(records(toy)) == 3 and all(r.finished for r in records(toy)), "the end")
        self.check(toy)
        until((toy.folder / "multirun" / "s" / "trials.csv").is_file, "the summary")
        code, output = toy.run(*SLURM, f"{SETTINGS}.workers=2", "x=1,2,3", "seconds=1", "hold=null")
        assert code == 2 and "hold" in output  # another question

    def test_cancelling_all_of_them_ends_the_sweep(self, toy: Any, slurm: Any) -> None:
        process = self.start(toy)
        for job in self.held(toy).values():
            slurm.do("scancel", job)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130 and "all 2 jobs of the sweep were cancelled; 3 trials are left" in output


class TestSeveralNodes:
    def test_what_another_process_raises_ends_the_trial_and_its_worker_starts_anew(self, toy: Any, slurm: Any) -> None:
        options = [f"{SETTINGS}.nodes_per_trial=2", f"{SETTINGS}.workers=1", "mode=raise_beside,fine", "x=1"]
        code, output = toy.run(*SLURM, *options, timeout=280)
        assert code == 3 and "process 1: RuntimeError: this process raises" in output, output
        assert [(r.state, r.attempt) for r in records(toy)] == [("failed", 1), ("complete", 1)]
        beside = [line.split()[1:3] for line in toy.notes.read_text().splitlines() if line.startswith("beside")]
        assert beside == [["0", "True"], ["1", "True"]]
        (job,) = jobs_of(toy)
        assert "Restarts=1" in slurm.ask("scontrol", "show", "job", job["id"])


def log_in_type_and_hang_up(toy: Any, *overrides: str) -> str:
    """Type a sweep at a login shell on a terminal of its own, which goes away as soon as the prompt is back.

    Returns:
        what stood on the terminal.
    """
    shell, terminal = pty.fork()
    if not shell:
        os.chdir(toy.folder)
        environment = {**toy.environment(), "PS1": "$ ", "TERM": "dumb", "COLUMNS": "200"}
        os.execve("/bin/bash", ["-bash", "--noprofile", "--norc", "-i"], environment)
    os.write(terminal, f"stty -echo\n{shlex.join(toy.command(*overrides))}; echo back: $?\n".encode())
    seen = ""
    until = time.monotonic() + 90
    while "back: 0" not in seen:
        assert time.monotonic() < until, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    os.close(terminal)  # the kernel sends SIGHUP to the shell, and that to what it has started
    assert os.waitpid(shell, 0)[0] == shell
    return seen


class TestDetached:
    def command(self, toy: Any, *words: str) -> str:
        code = "import sys; from pathlib import Path; sys.path.insert(0, '.'); from sweeping import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "sweep", *words],
            cwd=toy.folder,
            env=toy.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_status_stop_and_resume_after_logging_off(self, toy: Any, slurm: Any) -> None:
        (toy.folder / "sweeping.py").write_text(COMMANDS)
        hold = toy.folder / "hold"
        hold.touch()
        options = [*SLURM, f"{SETTINGS}.workers=2", f"{SETTINGS}.detach=true", "x=1,2,3", "seconds=1", f"hold={hold}"]
        began = time.monotonic()
        output = log_in_type_and_hang_up(toy, *options)
        assert "2 jobs submitted" in output and "Detached" in output, output
        assert time.monotonic() - began < 60
        until(lambda: sum(r.state == "running" for r in records(toy)) == 2, "two running trials")
        told = self.command(toy, "status", "s")
        for job in jobs_of(toy):
            line = next(line for line in told.splitlines() if line.startswith(job["id"]))
            assert "running" in line and "node" in line and Path(job["log"]).is_file()
        assert "2 running" in told

        assert "2 running trials will stop" in self.command(toy, "stop", "s")
        until(lambda: not any(r.state == "running" for r in records(toy)), "the stop")
        until(lambda: {slurm.jobs()[j["id"]][0] for j in jobs_of(toy)} == {"COMPLETED"}, "the jobs' end")
        told = self.command(toy, "status", "s")
        assert "nobody works on them" in told and "completed" in told

        hold.unlink()
        self.command(toy, "resume", "s")
        assert len(jobs_of(toy)) == 4
        until(lambda: len(records(toy)) == 3 and all(r.state == "complete" for r in records(toy)), "the end")
        assert [r.info["work"] for r in records(toy)] == [20, 40, 60]
        assert toy.noted("end") == Counter(range(3))


COMMANDS = """
import argparse, subprocess, sys
from tinyrm.sweep import add_commands, run_command

def main():
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())

    def rerun(words):
        own = [w.replace("sweep.", "hydra.sweeper.settings.", 1) if w.startswith("sweep.") else w for w in words]
        subprocess.run([sys.executable, "app.py", *own], check=True)

    run_command(parser.parse_args(sys.argv[1:]), rerun)
"""
