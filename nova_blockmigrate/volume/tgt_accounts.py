"""Users and passwords (CHAP) of tgtd's targets.

`tgtadm` takes a new user's password as an argument, which every process of the host can read; so that one request is sent to
tgtd's socket from here, as tgtadm would send it. All else about accounts is tgtadm's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nova_blockmigrate import concurrency
from nova_blockmigrate.exceptions import VolumeBackendError

SOCKET = "/var/run/tgtd/socket"
"""Followed by a dot and the control port; TGT_IPC_SOCKET in the environment names another one, as for tgtadm."""
TIMEOUT_S = 10.0
_REQUEST = struct.Struct("=II64sIiQqIIIIII")
"""mode, operation, driver, length of all, target, session, unit, connection, host, device type, direction, pack, force"""
_ANSWER = struct.Struct("=II")
"""error, length of all"""
_MODE_ACCOUNT, _OPERATION_NEW, _NONE = 7, 0, -1

Tgtadm = Callable[..., str]
"""(operation, mode, arguments…, gone=what a refusal says that is fine) -> what tgtadm prints"""


def keep(tgtadm: Tgtadm, control_port: int, tid: int, bound: Sequence[str], wanted: Mapping[str, str], prefix: str) -> None:
    """See that exactly these users (with their passwords) may log in to a target, which has those of `bound` now, in that order,
    and that tgtd knows no other user whose name begins with `prefix`. With no user at all a target asks for no password.

    tgtd (1.0.85) crashes at the next look at a target whose users have a gap: so they are taken away from the last one on, and
    those that stay are given back at once. For that moment the names of initiators alone say who gets in.
    """
    target = ("--tid", str(tid))
    known = parse(tgtadm("show", "account"))
    staying = list(bound)
    if gone := [user for user in bound if user not in wanted]:
        staying = list(bound[: bound.index(gone[0])])
        for user in reversed(bound[len(staying) :]):
            tgtadm("unbind", "account", *target, "--user", user)
    for user, password in wanted.items():
        if user not in known:
            create(control_port, user, password)
        if user not in staying:
            tgtadm("bind", "account", *target, "--user", user)
    for user in sorted(known - set(wanted)):
        if user.startswith(prefix):
            tgtadm("delete", "account", "--user", user)


def create(control_port: int, user: str, password: str) -> None:
    """Tell tgtd of a user.

    :raises VolumeBackendError: it refuses, or does not answer.
    """
    path = f"{os.environ.get('TGT_IPC_SOCKET', SOCKET)}.{control_port}"
    socket: Any = concurrency.original("socket")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
            connection.sendall(_request(user, password))
            answer = connection.recv(_ANSWER.size, socket.MSG_WAITALL)
    except OSError as error:
        raise _failed(user, f"{path}: {error}. Does tgtd run on this host?") from error
    if len(answer) < _ANSWER.size:
        raise _failed(user, f"{path}: tgtd said nothing")
    if number := _ANSWER.unpack(answer)[0]:
        raise _failed(user, f"tgtd answered with error {number}")


def parse(text: str) -> set[str]:
    """Users in what `tgtadm --op show --mode account` prints (pure)."""
    return {line.strip() for line in text.splitlines() if line.startswith(" ") and line.strip()}


def _request(user: str, password: str) -> bytes:
    said = f"user={user},password={password}\0".encode()
    length = _REQUEST.size + len(said)
    return _REQUEST.pack(_MODE_ACCOUNT, _OPERATION_NEW, b"iscsi", length, _NONE, 0, _NONE, 0, 0, 0, 0, 0, 0) + said


def _failed(user: str, reason: str) -> VolumeBackendError:
    return VolumeBackendError(backend="embedded", action=f"make the account {user}", reason=reason)
