"""tgtd, the iSCSI target daemon of this machine, by way of `tgtadm`: what it serves, and whom it lets in.

A target lets nobody in until an initiator's name is bound to it. tgtd keeps nothing: after a restart it serves nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from nova_blockmigrate import processes
from nova_blockmigrate.exceptions import VolumeBackendError
from nova_blockmigrate.volume import tgt_accounts

TIMEOUT_S = 10.0
LUN = 1
_FIRST_TID = 1000
"""Below are the targets that an administrator may have made by hand."""


@dataclasses.dataclass(frozen=True)
class Session:
    """An initiator that is logged in."""

    sid: int
    cid: int
    initiator: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A target as tgtd shows it."""

    tid: int
    iqn: str
    paths: tuple[str, ...] = ()
    """Files behind its units, but for the controller's."""
    initiators: frozenset[str] = frozenset()
    """Names that it lets in."""
    accounts: tuple[str, ...] = ()
    """CHAP users, one of which an initiator must be, in tgtd's order; none: no password is asked for."""
    sessions: tuple[Session, ...] = ()


class Tgtd:
    """The daemon behind one control port."""

    def __init__(self, control_port: int = 0) -> None:
        self._port = control_port

    def targets(self) -> dict[str, Target]:
        """All targets, by their names."""
        return {target.iqn: target for target in parse(self._do("show", "target"))}

    def serve(self, iqn: str, path: str) -> Target:
        """Serve a file under a name; served already is fine."""
        targets = self.targets()
        target = targets.get(iqn)
        if target is None:
            target = Target(_free_tid(targets.values()), iqn)
            self._do("new", "target", "--tid", str(target.tid), "--targetname", iqn)
        if path not in target.paths:
            unit = ("--tid", str(target.tid), "--lun", str(LUN))
            self._do("new", "logicalunit", *unit, "--backing-store", path)
            self._do("update", "logicalunit", *unit, "--params", "thin_provisioning=1")  # what guests discard is given back
        return target

    def allow(self, target: Target, initiators: Iterable[str]) -> None:
        """Let exactly these initiators in. Who is in and not among them is thrown out."""
        wanted = set(initiators)
        name = ("--tid", str(target.tid), "--initiator-name")
        for initiator in sorted(wanted - target.initiators):
            self._do("bind", "target", *name, initiator)
        for initiator in sorted(target.initiators - wanted):
            self._do("unbind", "target", *name, initiator)
        for session in target.sessions:
            if session.initiator not in wanted:
                self._disconnect(target, session)

    def require(self, target: Target, accounts: Mapping[str, str], prefix: str) -> None:
        """Have whoever logs in be one of these users, with the password of that one; none: nobody is asked. Users that begin with
        `prefix` and are none of these are forgotten."""
        tgt_accounts.keep(self._do, self._port, target.tid, target.accounts, accounts, prefix)

    def forget_accounts(self, prefix: str) -> None:
        """Forget the users that begin with `prefix`; tgtd takes them from their targets."""
        for user in tgt_accounts.parse(self._do("show", "account")):
            if user.startswith(prefix):
                self._do("delete", "account", "--user", user)

    def stop_serving(self, iqn: str) -> None:
        """Serve a name no more; not served is fine."""
        target = self.targets().get(iqn)
        if target is not None:
            self._do("delete", "target", "--tid", str(target.tid), "--force")

    def _disconnect(self, target: Target, session: Session) -> None:
        arguments = ("--tid", str(target.tid), "--sid", str(session.sid), "--cid", str(session.cid))
        self._do("delete", "conn", *arguments, gone="can't find")

    def _do(self, operation: str, mode: str, *arguments: str, gone: str = "") -> str:
        """What tgtadm prints; a refusal that contains `gone` is fine."""
        command = ["tgtadm", "-C", str(self._port), "--lld", "iscsi", "--op", operation, "--mode", mode, *arguments]
        action = f"{operation} {mode} {' '.join(arguments)}".strip()
        try:
            done = processes.run(command, TIMEOUT_S)
        except FileNotFoundError as error:
            raise VolumeBackendError(backend="embedded", action=action, reason="tgtadm is not there: install tgt") from error
        except TimeoutError as error:
            raise VolumeBackendError(backend="embedded", action=action, reason=str(error)) from error
        if done.returncode and not (gone and gone in done.stderr):
            raise VolumeBackendError(backend="embedded", action=action, reason=f"{done.failure}. Does tgtd run on this host?")
        return done.stdout.decode(errors="replace")


def _free_tid(targets: Iterable[Target]) -> int:
    taken = {target.tid for target in targets}
    return next(tid for tid in range(_FIRST_TID, _FIRST_TID + len(taken) + 1) if tid not in taken)


_TARGET = re.compile(r"^Target (\d+): (\S+)$")
_SECTION = re.compile(r"^    (\S.*):$")
_NEXUS = re.compile(r"^\s+I_T nexus: (\d+)$")
_INITIATOR = re.compile(r"^\s+Initiator: (\S+)")
_CONNECTION = re.compile(r"^\s+Connection: (\d+)$")
_PATH = re.compile(r"^\s+Backing store path: (.+)$")


def parse(text: str) -> list[Target]:
    """What `tgtadm --op show --mode target` prints, as values (pure)."""
    return [
        _parse_one(block)
        for block in re.split(r"^(?=Target \d+: )", text, flags=re.MULTILINE)
        if _TARGET.match(block.split("\n")[0])
    ]


def _parse_one(block: str) -> Target:
    lines = block.splitlines()
    tid, iqn = _TARGET.match(lines[0]).groups()  # type: ignore[union-attr]
    section, sid, initiator = "", 0, ""
    paths: list[str] = []
    initiators: set[str] = set()
    accounts: list[str] = []
    sessions: list[Session] = []
    for line in lines[1:]:
        if found := _SECTION.match(line):
            section = found[1]
        elif section == "I_T nexus information":
            if found := _NEXUS.match(line):
                sid = int(found[1])
            elif found := _INITIATOR.match(line):
                initiator = found[1]
            elif found := _CONNECTION.match(line):
                sessions.append(Session(sid, int(found[1]), initiator))
        elif section == "LUN information" and (found := _PATH.match(line)) and found[1] != "None":
            paths.append(found[1])
        elif section == "ACL information" and line.strip():
            initiators.add(line.strip())
        elif section == "Account information" and line.strip():
            accounts.append(line.split()[0])
    return Target(int(tid), iqn, tuple(paths), frozenset(initiators), tuple(accounts), tuple(sessions))
