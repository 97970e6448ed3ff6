"""The first process of a laboratory's machine: makes the machine's mounts, then starts and reaps its daemons on request.

Run as a script, in fresh network, mount and UTS namespaces: `machine_init.py SPEC` mounts and becomes `tini`, whose child is
`machine_init.py --serve SPEC`. `tini` is the reaper of orphans such as QEMU; this program of its own daemons. Imports nothing of
ours: it must work from any folder.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def become_machine(spec_path: str) -> None:
    spec = json.loads(Path(spec_path).read_text())
    socket.sethostname(spec["name"])
    for mount in spec["mounts"]:
        target = Path(mount["target"])
        if mount["kind"] == "tmpfs":
            _mount("-t", "tmpfs", "-o", "mode=755", mount["source"], str(target))
        else:
            if Path(mount["source"]).is_dir():
                target.mkdir(parents=True, exist_ok=True)
            _mount("--bind", mount["source"], str(target))
    for folder in spec["folders"]:
        Path(folder).mkdir(parents=True, exist_ok=True)
    os.execvp("tini", ["tini", "-s", "--", sys.executable, "-I", __file__, "--serve", spec_path])


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


class Daemons:
    """The machine's daemons by name. Each leads a process group, which signals go to."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}

    def answer(self, request: dict[str, Any]) -> object:
        match request["do"]:
            case "start":
                return self._start(request["name"], request["argv"], request["env"], request["log"])
            case "signal":
                self._signal(request["name"], request["signal"])
                return None
            case "list":
                return self._list()
        raise ValueError(f"cannot {request['do']}")

    def reap(self) -> None:
        for process in self._processes.values():
            process.poll()

    def _start(self, name: str, argv: list[str], env: dict[str, str], log: str) -> int:
        before = self._processes.get(name)
        if before and before.poll() is None:
            raise ValueError(f"{name} already runs")
        with open(log, "ab") as output:
            process = subprocess.Popen(
                argv,
                env={**os.environ, **env},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes[name] = process
        self._started[name] = time.time()
        return process.pid

    def _signal(self, name: str, number: int) -> None:
        if name not in self._processes:
            raise ValueError(f"{name} was never started")
        if self._processes[name].poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._processes[name].pid, number)

    def _list(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"pid": process.pid, "exit_code": process.poll(), "started_at": self._started[name]}
            for name, process in self._processes.items()
        }


def serve(spec_path: str) -> None:
    spec = json.loads(Path(spec_path).read_text())
    daemons = Daemons()
    signal.signal(signal.SIGCHLD, lambda *_: daemons.reap())
    listener = _listen(Path(spec["socket"]))
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.sendall(_answer(daemons, connection.makefile("rb").readline()) + b"\n")


def _answer(daemons: Daemons, line: bytes) -> bytes:
    try:
        return json.dumps({"result": daemons.answer(json.loads(line))}).encode()
    except Exception as error:  # noqa: BLE001 - the border to the client: it gets the reason, the machine lives on
        return json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()


def _listen(path: Path) -> socket.socket:
    """Listen at `path`, which may be longer than a socket address can be."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    listener.listen(64)
    os.close(folder)
    return listener


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        become_machine(sys.argv[1])
