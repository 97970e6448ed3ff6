"""What our control costs: the same guest moved in turn by plain `virsh migrate` and by us.

For both, time starts when the request is made. `running` is when libvirt's RESUMED event comes from the destination; `active` is
when `virsh` returns, and for us when `GET /servers/ID` shows ACTIVE on the destination; `ping_gap` is the longest time between two
answers to a ping every 10 ms. Each way moves there and back, so that the guest is where the database says when it is our turn.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from labkit import scenario
from labkit.commands import wait_until
from labkit.events import RESUMED, Watcher
from labkit.lab import Lab
from labkit.ping import Ping
from labkit.scenario import HOST, TASK, Client, Server

_TIMED = """
import subprocess, sys, time
begun = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(begun, time.monotonic())
"""
"""Times a command where it runs: entering a host's namespaces is no part of what virsh does."""

HOSTS = ("compute1", "compute2")
FIGURES = ("ping_gap", "running", "active")


@dataclass(frozen=True)
class Move:
    """Seconds of one move."""

    ping_gap: float
    running: float
    active: float


Way = Callable[[Lab, Client, Server, str, str, Watcher], tuple[float, float]]
"""Moves a server from a host to another; returns when it was asked for and when it was over (monotonic clock)."""


def run(lab: Lab, rounds: int) -> int:
    """Measure, print the table and the line of JSON; 0 when every move succeeded."""
    client = Client(lab)
    scenario.delete_all(lab, client)
    server = scenario.boot(lab, client, "bench", HOSTS[0])
    moves: dict[str, list[Move]] = {"virsh": [], "ours": []}
    ways: dict[str, Way] = {"virsh": by_virsh, "ours": by_us}
    with Watcher(lab) as watcher:
        for source, destination in (HOSTS, HOSTS[::-1]):  # brings the base image there, which is no part of what is measured
            by_us(lab, client, server, source, destination, watcher)
        for number in range(rounds):
            for name in sorted(ways, reverse=number % 2 == 0):
                for source, destination in (HOSTS, HOSTS[::-1]):
                    moves[name].append(_measure(lab, client, server, watcher, ways[name], source, destination))
                    print(f"{name:<6} {source} to {destination}: {_line(moves[name][-1])}", file=sys.stderr, flush=True)
    client.request("DELETE", f"/servers/{server.id}")
    medians = {
        name: {figure: statistics.median(getattr(move, figure) for move in done) for figure in FIGURES}
        for name, done in moves.items()
    }
    ratios = {figure: round(medians["ours"][figure] / medians["virsh"][figure], 2) for figure in FIGURES}
    print(_table(moves, medians, ratios))
    seconds = {name: {figure: round(value, 3) for figure, value in own.items()} for name, own in medians.items()}
    print(json.dumps({**ratios, "moves": len(moves["ours"]), "seconds": seconds}))
    return 0


def _measure(lab: Lab, client: Client, server: Server, watcher: Watcher, way: Way, source: str, destination: str) -> Move:
    server.guest.wait_for_record(server.guest.status()["record"] + 20)
    with Ping(lab, server.guest.address) as ping:
        wait_until(server.guest.answers, 10, "guest answers")
        asked, over = way(lab, client, server, source, destination, watcher)
        server.guest.wait_for_record(server.guest.status()["record"] + 20)
        wait_until(lambda: watcher.first(destination, RESUMED, asked) is not None, 10, "the guest's RESUMED event")
    resumed = watcher.first(destination, RESUMED, asked)
    if resumed is None or ping.result is None:
        raise RuntimeError("the move was not observed")
    return Move(ping.result.longest_gap_s, resumed - asked, over - asked)


def by_virsh(lab: Lab, client: Client, server: Server, source: str, destination: str, watcher: Watcher) -> tuple[float, float]:
    """What an administrator types without us; the overlay that libvirt wants to find is made beforehand, untimed."""
    chain = json.loads(lab.run(source, ["qemu-img", "info", "-U", "--backing-chain", "--output=json", server.disk]).stdout)
    lab.run(destination, ["mkdir", "-p", server.folder])
    base = ["-b", chain[1]["filename"], "-F", chain[1]["format"]]
    lab.run(destination, ["qemu-img", "create", "-q", "-f", "qcow2", *base, server.disk, str(chain[0]["virtual-size"])])
    address = f"qemu+tcp://{destination}/system"
    virsh = [
        "virsh",
        "migrate",
        "--live",
        "--p2p",
        "--persistent",
        "--undefinesource",
        "--copy-storage-inc",
        server.domain,
        address,
    ]
    timed = lab.run(source, ["python3", "-S", "-c", _TIMED, *virsh]).stdout.split()
    asked, over = float(timed[-2]), float(timed[-1])
    lab.run(source, ["rm", "-r", server.folder])
    return asked, over


def by_us(lab: Lab, client: Client, server: Server, source: str, destination: str, watcher: Watcher) -> tuple[float, float]:
    """The request that `nova live-migration --block-migrate` sends, and what its user then reads."""
    asked = time.monotonic()
    client.request("POST", f"/servers/{server.id}/action", {"os-migrateLive": {"host": destination, "block_migration": True}})

    # before that it cannot be ACTIVE there, and each question costs the services time that virsh does not have to give
    wait_until(lambda: watcher.first(destination, RESUMED, asked) is not None, 60, "the guest's RESUMED event", interval_s=0.01)

    def arrived() -> bool:
        shown = client.server(server.id)
        return bool(shown[HOST] == destination and shown["status"] == "ACTIVE" and shown[TASK] is None)

    wait_until(arrived, 60, f"ACTIVE on {destination}", interval_s=0.01)
    over = time.monotonic()
    scenario.wait_for_end(client, server.id, 60)
    return asked, over


def _line(move: Move) -> str:
    return ", ".join(f"{figure} {value:.3f} s" for figure, value in asdict(move).items())


def _table(moves: dict[str, list[Move]], medians: dict[str, dict[str, float]], ratios: dict[str, float]) -> str:
    lines = [f"{'median seconds of ' + str(len(moves['ours'])):<22}{'virsh':>8}{'ours':>8}{'ratio':>8}"]
    for figure in FIGURES:
        virsh, ours = medians["virsh"][figure], medians["ours"][figure]
        lines.append(f"{figure:<22}{virsh:>8.3f}{ours:>8.3f}{ratios[figure]:>8.2f}")
    return "\n".join(lines)
