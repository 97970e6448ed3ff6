"""The QEMU of a guest as a process: stopped, continued and killed by signals, held by a descriptor so that its number
cannot come to mean another process. For the handover."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from nova_blockmigrate import processes
from nova_blockmigrate.concurrency import native

RUN_DIRECTORY = "/run/libvirt/qemu"
_STOPPED_OR_DEAD = frozenset("TtZX")
_LOOK_INTERVAL_S = 0.0003


class QemuProcess:
    """One QEMU, addressed by a pidfd."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor = pid, descriptor
        self._killed = False

    @classmethod
    def find(cls, domain_name: str, uuid: str, run_directory: str = RUN_DIRECTORY) -> QemuProcess | None:
        """The running QEMU of a domain; None when there is none, or libvirt keeps its file elsewhere, or this process may not
        send signals to it."""
        try:
            pid = int(Path(run_directory, f"{domain_name}.pid").read_text())
            descriptor = os.pidfd_open(pid)
        except (FileNotFoundError, PermissionError, ProcessLookupError, ValueError):
            return None
        try:
            if uuid.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():  # the file may be of an earlier run
                signal.pidfd_send_signal(descriptor, 0)
                return cls(pid, descriptor)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            pass
        os.close(descriptor)
        return None

    def stop(self, limit_s: float) -> bool:
        """SIGSTOP; whether every thread was seen stopped within the limit (False, too, when the process is gone)."""
        if not processes.signal_descriptor(self._descriptor, signal.SIGSTOP):
            return False
        deadline = native.time.monotonic() + limit_s
        while not self._all_stopped():
            if native.time.monotonic() > deadline:
                return False
            native.time.sleep(_LOOK_INTERVAL_S)
        return not self.has_ended()

    def resume(self) -> None:
        """SIGCONT."""
        processes.signal_descriptor(self._descriptor, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL. A process that is stopped executes no further instruction from then on."""
        self._killed = True
        processes.signal_descriptor(self._descriptor, signal.SIGKILL)

    def is_stopped(self) -> bool:
        """Whether its first thread is in state T: somebody has sent SIGSTOP."""
        return _thread_state(f"/proc/{self.pid}/stat") in ("T", "t") and not self.has_ended()

    def has_ended(self) -> bool:
        return self.ends_within(0)

    def never_runs_again(self) -> bool:
        """It has ended, or was killed by us; taking its memory apart may take long."""
        return self._killed or self.has_ended()

    def ends_within(self, timeout_s: float) -> bool:
        return processes.descriptor_ends_within(self._descriptor, timeout_s)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _all_stopped(self) -> bool:
        tasks = f"/proc/{self.pid}/task"
        try:
            return all(_thread_state(f"{tasks}/{thread}/stat") in _STOPPED_OR_DEAD for thread in os.listdir(tasks))
        except (FileNotFoundError, ProcessLookupError):
            return True


def _thread_state(path: str) -> str:
    """The state letter of a thread; "X" (dead) when it is gone."""
    try:
        with open(path, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
