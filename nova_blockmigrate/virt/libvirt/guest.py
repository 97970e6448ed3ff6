"""A guest as a libvirt domain: starting, stopping, pausing, removing. Ends are awaited by events, not by sleeping."""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError, HypervisorError, UnsafeRemoval
from nova_blockmigrate.objects import PowerState
from nova_blockmigrate.virt.libvirt.host import Host, LifecycleEvents
from nova_blockmigrate.virt.libvirt.observe import power_state

RESHUTDOWN_INTERVAL_S = 10.0
"""A guest that was still booting may not have heard the power button: it is pressed again."""
_UNDEFINE_FLAGS = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_GONE = {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}


class Guest:
    """One domain of this host, addressed by its UUID."""

    def __init__(self, host: Host, uuid: str, name: str) -> None:
        self.host, self.uuid, self.name = host, uuid, name

    # --- looking ----------------------------------------------------------------------------------------------------

    def find(self) -> Any | None:
        return self.host.find_domain(self.uuid)

    def power_state(self) -> PowerState:
        domain = self.find()
        if domain is None:
            return PowerState.NOSTATE
        try:
            with self._errors("tell its state"):
                return power_state(*domain.state())
        except BlockMigrateError:
            if self.find() is None:  # it went between the two questions
                return PowerState.NOSTATE
            raise

    # --- starting ---------------------------------------------------------------------------------------------------

    def define_and_start(self, xml: str) -> None:
        with self._errors("define the guest"):
            domain = self.host.connection().defineXML(xml)
        with self._errors("start the guest"):
            domain.create()

    def start(self) -> None:
        """Start it; one that runs is fine, a saved one continues."""
        domain = self._domain()
        with self._errors("start the guest"):
            if not domain.isActive():
                domain.create()

    # --- stopping ---------------------------------------------------------------------------------------------------

    def shut_down(self, timeout_s: float) -> None:
        """Press the power button; pull the plug when it does not end within `timeout_s` seconds."""
        domain = self._domain()
        if not self._is_active(domain):
            return
        if timeout_s > 0 and self._ends_by_itself(domain, timeout_s):
            return
        self.pull_the_plug(domain)

    def _ends_by_itself(self, domain: Any, timeout_s: float) -> bool:
        events = native.queue.Queue()
        clock = native.time.monotonic
        deadline = clock() + timeout_s
        with self._errors("shut the guest down"), LifecycleEvents(self.host.connection(), self.uuid, "here", events):
            while (left_s := deadline - clock()) > 0 and domain.isActive():
                with contextlib.suppress(libvirt.libvirtError):  # it may end between the look and the call
                    domain.shutdown()
                self._await_stop(events, min(left_s, RESHUTDOWN_INTERVAL_S))
            return not domain.isActive()

    @staticmethod
    def _await_stop(events: Any, timeout_s: float) -> None:
        clock = native.time.monotonic
        deadline = clock() + timeout_s
        with contextlib.suppress(native.queue.Empty):
            while (left_s := deadline - clock()) > 0:
                if events.get(timeout=left_s)[1] == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                    return

    def pull_the_plug(self, domain: Any) -> None:
        try:
            domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _GONE:
                with self._errors("stop the guest"):
                    raise

    def reboot(self, hard: bool, timeout_s: float) -> None:
        self.shut_down(0 if hard else timeout_s)
        self.start()

    def undefine(self) -> None:
        """Forget the definition of a guest that does not run.

        :raises UnsafeRemoval: it runs.
        """
        domain = self.find()
        if domain is None:
            return
        if self._is_active(domain):
            raise UnsafeRemoval(
                name=f"the definition of {self.name}", host=self.host.name, reason="libvirt says that the guest runs"
            )
        undefine(domain)

    def remove(self) -> None:
        """Stop it and forget its definition; a guest that is not here is fine. When this returns, libvirt has it no more."""
        domain = self.find()
        if domain is None:
            return
        if self._is_active(domain):
            self.pull_the_plug(domain)
        with self._errors("undefine the guest"):
            undefine(domain)
        if self.find() is not None:
            raise HypervisorError(action=f"remove {self.name}", reason="libvirt still lists it")

    # --- pausing ----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        domain = self._domain()
        with self._errors("pause the guest"):
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()

    def unpause(self) -> None:
        domain = self._domain()
        with self._errors("resume the guest"):
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

    def save(self) -> None:
        domain = self._domain()
        with self._errors("save the guest's memory"):
            if domain.isActive():
                domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _domain(self) -> Any:
        return self.host.domain(self.uuid, self.name)

    def _is_active(self, domain: Any) -> bool:
        try:
            return bool(domain.isActive())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return False
            with self._errors("tell whether the guest runs"):
                raise

    def _errors(self, action: str) -> contextlib.AbstractContextManager[None]:
        return self.host.errors(action, self.name)


def undefine(domain: Any) -> None:
    """Forget a domain's definition with all that belongs to it; one that is gone (or was never persistent) is fine."""
    try:
        domain.undefineFlags(_UNDEFINE_FLAGS)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _GONE:
            raise
