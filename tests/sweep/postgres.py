"""A throw-away PostgreSQL server for tests, from the binaries of the wheel `pgserver`, also where we are root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any


class Postgres:
    """A server in a folder of its own; `nobody` runs it where we are root, since PostgreSQL refuses to be root."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pgt-", dir="/tmp"))  # short: a socket's path must be
        self.data, self.log = self.root / "data", self.root / "log"
        self.bin = _binaries()
        self.port = _free_port()
        self.drop: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            self.drop = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.root, account.pw_uid, account.pw_gid)
            self.root.chmod(0o755)

    def begin(self) -> Postgres:
        """Make the database cluster and start the server."""
        if self.drop and not self._may_run():
            self._copy_binaries()
        self._run(
            *("initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"),
            "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.root}'\n"
                "max_connections = 200\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
                "shared_buffers = 64MB\ndynamic_shared_memory_type = mmap\n"
            )
        return self.start()

    def start(self) -> Postgres:
        """Start the server; wait until it answers."""
        self._run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "30", "start")
        return self

    def stop(self, mode: str = "fast") -> None:
        """`fast` cuts the clients; `immediate` is like a crash."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self.data, "-w", "-t", "30", "-m", mode, "stop")

    def database(self, name: str) -> str:
        """Make a database; give its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", name)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def destroy(self) -> None:
        """Stop the server and remove its files."""
        self.stop("immediate")
        shutil.rmtree(self.root, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(self.bin / program), *map(str, arguments)],
            cwd=self.root,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.root)},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            **self.drop,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: exit code {done.returncode}\n{done.stdout}")

    def _may_run(self) -> bool:
        found = subprocess.run(["/usr/bin/test", "-x", str(self.bin / "postgres")], check=False, **self.drop)
        return found.returncode == 0

    def _copy_binaries(self) -> None:
        """To where the account may enter, rather than loosening anybody's permissions."""
        package = self.bin.parent.parent
        top = self.root / "wheel"
        for source in (package, package.with_name(package.name + ".libs")):  # found by its relative path
            if source.exists():
                ignored = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
                shutil.copytree(source, top / source.name, symlinks=True, ignore=ignored)
        for path in [top, *top.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.parent.name == "bin" else 0o044))
        self.bin = top / package.name / "pginstall" / "bin"


def _binaries() -> Path:
    spec = importlib.util.find_spec("pgserver")  # not imported: that would make folders
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError("no PostgreSQL: pip install pgserver")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
