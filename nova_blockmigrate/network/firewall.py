"""The firewall of a host: finds out what its kernel can do, and loads guests' rules, each change one transaction.

What the rules say is in `ruleset.py`. They name the tap and so stand before it exists: no frame ever passes without them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Sequence

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
_NOTHING_THERE = ("No such file or directory", "Protocol not supported", "Operation not supported")
"""What nft says where there is no table, or a kernel that knows no tables."""


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

    def release(self, tap: str, in_use: Collection[str]) -> None:
        """Take a tap's rules away, after it is gone, and what nothing needs any more: sets of groups, and zones of bridges but
        for those `in_use`. What is not there is fine.

        :raises NetworkError: the kernel refused, or does not tell.
        """
        with self._lock:
            self._forget([tap])
            for family in ("bridge", "inet"):
                for bridge, zone in ruleset.zones_in(self._list("map", family, "zones")).items():
                    if bridge not in in_use:
                        self._load(f"end the zone of {bridge}", ruleset.forget_zone(family, bridge, zone))

    def leave(self, vifs: Iterable[Vif]) -> None:
        """Take away the rules of interfaces whose port security is off now. What is not there is fine.

        :raises NetworkError: see `release`.
        """
        if taps := [vif.tap for vif in vifs if not vif.port_security]:
            with self._lock:
                self._forget(taps)

    def _forget(self, taps: Sequence[str]) -> None:
        listing = self._list("table", "bridge")
        there = [tap for tap in taps if f"from_{tap}" in listing]
        for tap in there:
            self._load(f"release {tap}", ruleset.release(tap))
        for name in ruleset.group_sets_in(listing) if there else ():
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

    def _list(self, kind: str, family: str, name: str = "") -> str:
        """Our table without the members of its sets and maps, or one of its maps with them; empty when it is not there.

        :raises NetworkError: it is not known what is there: rules that are must not be forgotten.
        """
        if shutil.which("nft") is None:
            return ""
        terse = ["--terse"] if kind == "table" else []
        answer = self._run([*terse, "list", kind, family, ruleset.TABLE, *([name] if name else [])], "")
        if answer.returncode == 0:
            return answer.stdout.decode()
        if any(sign in answer.stderr for sign in _NOTHING_THERE):
            return ""
        raise NetworkError(host=self._settings.host, action="list the rules of guests", reason=_complaint(answer))

    def _load(self, action: str, text: str) -> None:
        answer = self._run(["-f", "-"], text)
        if answer.returncode != 0:
            LOG.error("nft refused to %s: %s\n%s", action, answer.stderr, text)
            raise NetworkError(host=self._settings.host, action=action, reason=_complaint(answer))

    def _run(self, arguments: list[str], text: str) -> processes.Completed:
        try:
            return processes.run(["nft", *arguments], _TIMEOUT_S, text.encode())
        except TimeoutError as error:
            raise NetworkError(host=self._settings.host, action="change the rules of guests", reason=str(error)) from error


def _complaint(answer: processes.Completed) -> str:
    """nft's first line says what is wrong; those below it show where."""
    lines = answer.stderr.strip().splitlines()
    return lines[0] if lines else f"nft ended with {answer.returncode}"
