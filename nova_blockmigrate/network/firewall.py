"""The firewall of a host: finds out what its kernel can do, and loads guests' rules, each change one transaction.

What the rules say is in `ruleset.py`. They name the tap and so stand before it exists: no frame ever passes without them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from oslo_log import log

from nova_blockmigrate import processes
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import ruleset
from nova_blockmigrate.network.ruleset import Guarding, Tracking
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Vif

LOG = log.getLogger(__name__)

SYSCTLS = "/proc/sys/net/bridge"
_CALLS = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
_TIMEOUT_S = 30.0


class Firewall:
    """Guards the taps of this host."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._lock = native.threading.RLock()
        self._guarding: Guarding | None = None

    def why_not(self) -> str:
        """Why this host can guard no guest, in words with what to do; empty when it can. Changes nothing."""
        with self._lock:
            return "" if self._guarding else self._detect()

    def guard(self, vifs: Iterable[Vif]) -> None:
        """Put the rules of interfaces in force: all of them at once, in the place of those that they had.

        :raises NetworkError: the kernel cannot, or refused.
        """
        guarded = [vif for vif in vifs if vif.port_security]
        if not guarded:
            return
        with self._lock:
            if reason := self.why_not():
                raise NetworkError(host=self._settings.host, action=f"guard {guarded[0].tap}", reason=reason)
            guarding = self._guarding
            assert guarding is not None  # noqa: S101 - why_not has found one
            if guarding.tracking is Tracking.BR_NETFILTER:
                self._track_bridged_packets()
            self._load("guard a guest", ruleset.base(guarding) + ruleset.guard(guarded, guarding))

    def release(self, tap: str) -> None:
        """Take a tap's rules away, after it is gone. Rules that are not there are fine.

        :raises NetworkError: the kernel refused.
        """
        with self._lock:
            listing = self._listing()
            if f"from_{tap}" not in listing:
                return
            self._load(f"release {tap}", ruleset.release(tap))
            for name in ruleset.group_sets_in(listing):
                self._run(["-f", "-"], ruleset.forget_set(name))  # (refused while another guest's rule names it)

    # --- what the kernel can do -------------------------------------------------------------------------------------

    def _detect(self) -> str:
        if shutil.which("nft") is None:
            return "there is no `nft`, which guards guests: install nftables, or switch the network's port security off"
        wanted = [Tracking.BRIDGE, Tracking.BR_NETFILTER] if self._settings.tracking == "auto" else [self._settings.tracking]
        reasons = []
        for name in wanted:
            guarding = Guarding(Tracking(name), self._settings.mark)
            reason = self._why_not(guarding)
            if not reason:
                LOG.info("Guests are guarded with connection tracking by %s", guarding.tracking)
                self._guarding = guarding
                return ""
            reasons.append(f"{guarding.tracking}: {reason}")
        return (
            f"this kernel cannot track the connections of guests ({'; '.join(reasons)}): load nf_conntrack_bridge or br_netfilter, "
            "or switch the network's port security off"
        )

    def _why_not(self, guarding: Guarding) -> str:
        if guarding.tracking is Tracking.BR_NETFILTER:
            if not os.path.isdir(SYSCTLS):
                processes.run(["modprobe", "--quiet", "br_netfilter"], _TIMEOUT_S)
            if not os.path.isdir(SYSCTLS):
                return f"{SYSCTLS} does not exist"
        answer = self._run(["--check", "-f", "-"], ruleset.base(guarding))
        return "" if answer.returncode == 0 else _complaint(answer)

    def _track_bridged_packets(self) -> None:
        for name in _CALLS:
            path = os.path.join(SYSCTLS, name)
            try:
                with open(path, "r+") as file:
                    if file.read().strip() != "1":
                        file.seek(0)
                        file.write("1\n")
            except OSError as error:
                raise NetworkError(
                    host=self._settings.host, action="track connections of guests", reason=f"{path} cannot be set to 1: {error}"
                ) from error

    # --- loading ----------------------------------------------------------------------------------------------------

    def _listing(self) -> str:
        """Our table without the members of its sets and maps; empty when there is none."""
        if shutil.which("nft") is None:
            return ""
        return self._run(["--terse", "list", "table", "bridge", ruleset.TABLE], "").stdout.decode()

    def _load(self, action: str, text: str) -> None:
        answer = self._run(["-f", "-"], text)
        if answer.returncode != 0:
            LOG.error("nft refused to %s: %s\n%s", action, answer.stderr, text)
            raise NetworkError(host=self._settings.host, action=action, reason=_complaint(answer))

    def _run(self, arguments: list[str], text: str) -> processes.Completed:
        return processes.run(["nft", *arguments], _TIMEOUT_S, text.encode())


def _complaint(answer: processes.Completed) -> str:
    """nft's first line says what is wrong; those below it show where."""
    lines = answer.stderr.strip().splitlines()
    return lines[0] if lines else f"nft ended with {answer.returncode}"
