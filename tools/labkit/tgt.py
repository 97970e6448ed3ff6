"""The laboratory's storage: tgtd, the iSCSI target daemon, on the controller, where the embedded volume backend steers it."""

from dataclasses import dataclass

from labkit import machine
from labkit.commands import run
from labkit.layout import Layout

DAEMON = "tgtd"
_SHOW = ("tgtadm", "--lld", "iscsi", "--op", "show", "--mode", "target")


@dataclass(frozen=True)
class Served:
    """What tgtd says of a volume: whom it lets in, and who is logged in."""

    allowed: tuple[str, ...] = ()
    logged_in: tuple[str, ...] = ()


def start(layout: Layout) -> None:
    machine.start_daemon(layout, layout.controller, DAEMON, ["tgtd", "-f"])


def answers(layout: Layout) -> bool:
    return run(machine.entering(layout, layout.controller, _SHOW, "/"), check=False, timeout_s=20).returncode == 0


def served(layout: Layout, volume_id: str) -> Served:
    """Read from what tgtd prints, by other means than the product's."""
    text = run(machine.entering(layout, layout.controller, _SHOW, "/"), timeout_s=20).stdout
    for block in text.split("Target ")[1:]:
        name, *lines = block.splitlines()
        if name.endswith(volume_id):
            after = [line.strip() for line in lines]
            allowed = after[after.index("ACL information:") + 1 :]
            logged_in = [line.split()[1] for line in after if line.startswith("Initiator: ")]
            return Served(tuple(sorted(filter(None, allowed))), tuple(sorted(logged_in)))
    return Served()
