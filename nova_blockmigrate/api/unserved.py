"""Actions on servers that Nova has and we do not: refused by name, and with what there is instead."""

from __future__ import annotations

from nova_blockmigrate import exceptions

_MOVES = "servers are moved while they run, by os-migrateLive (`nova live-migration --block-migrate`)"
_DISK = "a server keeps the disk, the image and the flavor that it was made with"
_KEPT = "stop it (os-stop) instead, or delete it"
_CONSOLES = "what its console shows is told by os-getConsoleOutput (`nova console-log`)"
_NETWORK = "interfaces and addresses are given when a server is made"
_PASSWORD = "nothing is put into guests; log in with a key that the image knows"  # noqa: S105 - words, not one

_INSTEAD = {
    **dict.fromkeys(("migrate", "confirmResize", "revertResize", "resize"), _MOVES),
    "evacuate": f"a server's disk is on its host: when that host is lost, it is lost; while it runs, {_MOVES}",
    **dict.fromkeys(("rebuild", "createImage", "createBackup", "rescue", "unrescue"), _DISK),
    **dict.fromkeys(("shelve", "unshelve", "shelveOffload", "restore", "forceDelete", "trigger_crash_dump"), _KEPT),
    **dict.fromkeys(
        ("os-getVNCConsole", "os-getSPICEConsole", "os-getRDPConsole", "os-getSerialConsole", "os-getMKSConsole"), _CONSOLES
    ),
    **dict.fromkeys(
        ("addFixedIp", "removeFixedIp", "addFloatingIp", "removeFloatingIp", "resetNetwork", "injectNetworkInfo"), _NETWORK
    ),
    "changePassword": _PASSWORD,
}


class ActionNotServed(exceptions.Invalid):
    template = "The action {action} is not served by nova-blockmigrate: {instead}."


class NoSuchAction(exceptions.Invalid):
    template = "There is no such action: {action}"


def refusal(action: str) -> exceptions.Invalid:
    """What to answer to an action that nobody handles."""
    if action in _INSTEAD:
        return ActionNotServed(action=action, instead=_INSTEAD[action])
    return NoSuchAction(action=action)
