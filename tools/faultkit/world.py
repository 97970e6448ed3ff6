"""Looks at the real world: what each host has of the guest, by its libvirt, its kernel and its disk; what the database says.

Nothing here asks the services of ours, but the API for what a user sees. What it means is judged in `checker.py`.
"""

import contextlib
import json
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultkit.guests import AdoptedServer
from faultkit.stage import FOREIGN, HOSTS, Stage
from labkit import postgres, processes, tgt
from labkit.commands import run
from labkit.layout import INSTANCES, PRODUCT_STATE
from labkit.scenario import HOST, TASK, Server, strays

VIRSH_LIMIT_S = 10


@dataclass(frozen=True)
class HostWorld:
    """One host. `domain` is libvirt's word for its state, None when it has no such domain, "?" when it does not answer."""

    name: str
    domain: str | None = None
    persistent: bool = False
    process_runs: bool = False
    has_disk: bool = False
    belongings: tuple[str, ...] = ()
    """All that is of the guest here, in words: domain, taps, rules, files, processes."""
    records: tuple[str, ...] = ()
    """Ledgers of migrations: each is one that this host remembers, and a claim if it was to receive the guest."""
    owns: bool = False
    """Whether the host has a ledger of the guest's own."""
    debris: tuple[str, ...] = ()
    """What no finished migration leaves: half made images, exports that are still served, rules of taps that are nobody's."""
    foreign_is_safe: bool = True


@dataclass(frozen=True)
class Database:
    """What the API and the tables say of the guest and its newest migration."""

    status: str = ""
    host: str = ""
    task_state: str | None = None
    migration: str = ""
    unfinished: int = 0
    held: tuple[str, ...] = ()
    """Rows of migrations that are over and still hold a slot or an owner, and actions without an end."""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volume:
    """The guest's volume: hosts that its target lets in, hosts that are logged in, hosts that the database gives a right to it."""

    let_in: tuple[str, ...]
    logged_in: tuple[str, ...]
    attached: tuple[str, ...]


@dataclass(frozen=True)
class World:
    hosts: dict[str, HostWorld]
    database: Database
    guest: dict[str, Any] | None
    """Its own word, or None when it does not answer."""
    volume: Volume | None = None


def look(stage: Stage) -> World:
    hosts = {host: look_at_host(stage, host) for host in HOSTS}
    return World(hosts, look_at_database(stage), stage.status(), look_at_volume(stage) if stage.volume else None)


# --- hosts ----------------------------------------------------------------------------------------------------------------


def look_at_host(stage: Stage, host: str) -> HostWorld:
    server = stage.guest
    domain, persistent = _domain(stage, host, server)
    pid = stage.qemu_pid(host)
    found = [f"domain ({domain})"] if domain else []
    found += _links(stage, host, server) + _rules(stage, host, server) + _files(stage, host, server)
    found += _processes(stage, host, server) + (_secrets(stage, host) if stage.volume else [])
    foreign, ledger = stage.path(host, FOREIGN), stage.path(host, f"{PRODUCT_STATE}/ledger/{host}")
    return HostWorld(
        host,
        domain,
        persistent,
        process_runs=pid is not None,
        has_disk=stage.path(host, server.disk).exists(),
        belongings=tuple(found),
        records=tuple(path.name for path in ledger.glob("*.jsonl")),
        owns=(ledger / f"servers/{server.id}.jsonl").exists(),
        debris=tuple(_debris(stage, host)),
        foreign_is_safe=_is_mounted_over(stage, host) or foreign.exists(),
    )


def _domain(stage: Stage, host: str, server: Server) -> tuple[str | None, bool]:
    asked = run(stage.lab.command(host, ["virsh", "dominfo", server.domain], "/"), check=False, timeout_s=VIRSH_LIMIT_S)
    if asked.returncode != 0:
        return (None, False) if "failed to get domain" in asked.stderr else ("?", False)
    lines = dict(line.split(":", 1) for line in asked.stdout.splitlines() if ":" in line)
    return lines["State"].strip(), lines["Persistent"].strip() == "yes"


def _links(stage: Stage, host: str, server: Server) -> list[str]:
    namespace = stage.lab.machine(host).namespace
    links = json.loads(run(["ip", "-n", namespace, "-j", "link"]).stdout)
    tail = server.mac.lower().replace(":", "")[-10:]
    return [
        f"tap {link['ifname']}"
        for link in links
        if link["ifname"].startswith(("tap", "vnet", "qbr", "qvb", "qvo"))
        and link.get("address", "").replace(":", "")[-10:] == tail
    ]


def _rules(stage: Stage, host: str, server: Server) -> list[str]:
    rules = _inside(stage, host, "nft", "list", "ruleset") + _inside(stage, host, "iptables-save")
    return [f"rule `{line.strip()}`" for line in rules.splitlines() if server.mac.lower() in line.lower()][:3]


def _inside(stage: Stage, host: str, *argv: str) -> str:
    return run(["ip", "netns", "exec", stage.lab.machine(host).namespace, *argv], check=False).stdout


def _secrets(stage: Stage, host: str) -> list[str]:
    """Passwords of volumes, as libvirt keeps them."""
    told = run(stage.lab.command(host, ["virsh", "secret-list"], "/"), check=False, timeout_s=VIRSH_LIMIT_S).stdout
    return [f"secret {line.split()[0]}" for line in told.splitlines() if stage.volume in line]


def _files(stage: Stage, host: str, server: Server) -> list[str]:
    if isinstance(server, AdoptedServer):
        return [f"file {server.disk}"] if stage.path(host, server.disk).exists() else []
    folder = stage.path(host, server.folder)
    return [f"file {server.folder}", *(f"file {server.folder}/{path.name}" for path in folder.iterdir())] if folder.exists() else []


def _processes(stage: Stage, host: str, server: Server) -> list[str]:
    network = (stage.lab.root(host).parent / "ns/net").stat().st_ino
    found = []
    for pid, line in processes.find(stage.lab.layout).items():
        with contextlib.suppress(OSError):
            here = (stage.lab.root(host).parent.parent / str(pid) / "ns/net").stat().st_ino == network
            if here and "qemu" in line.split()[0] and (server.id in line or server.domain in line):
                found.append(f"process {line.split()[0]} {pid}")
    return found


def _debris(stage: Stage, host: str) -> list[str]:
    base = stage.path(host, f"{INSTANCES}/_base")
    found = [f"half made base {path.name}" for path in base.glob("*.part*")] if base.exists() else []
    book = stage.path(host, f"{PRODUCT_STATE}/network/{host}.json")
    found += strays(_inside(stage, host, "nft", "list", "ruleset"), book.read_text() if book.exists() else "")
    network = (stage.lab.root(host).parent / "ns/net").stat().st_ino
    for pid, line in processes.find(stage.lab.layout).items():
        with contextlib.suppress(OSError):
            if "qemu-nbd" in line and (stage.lab.root(host).parent.parent / str(pid) / "ns/net").stat().st_ino == network:
                found.append(f"export of a base still served ({pid})")
    return found


def _is_mounted_over(stage: Stage, host: str) -> bool:
    """The folder of instances is a mount of the laboratory's; a second one there is a case's."""
    mounts = (stage.lab.root(host).parent / "mounts").read_text().splitlines()
    return sum(line.split()[1] == INSTANCES for line in mounts) > 1


# --- the volume -----------------------------------------------------------------------------------------------------------


def look_at_volume(stage: Stage) -> Volume:
    served = tgt.served(stage.lab.layout, stage.volume)
    rows = query(stage, "SELECT host FROM volume_attachments")
    let_in, logged_in = (tuple(name.rpartition(":")[2] for name in names) for names in (served.allowed, served.logged_in))
    return Volume(let_in, logged_in, tuple(sorted(str(row[0]) for row in rows)))


# --- the database ---------------------------------------------------------------------------------------------------------


def look_at_database(stage: Stage) -> Database:
    """
    :raises OSError, http.client.HTTPException: the API does not answer (stage.CONNECTION_ERRORS)
    """
    server_id = stage.guest.id
    shown = stage.ask(lambda client: client.server(server_id))
    migration = stage.ask(lambda client: client.newest_migration(server_id))
    unfinished = query(stage, "SELECT count(*) FROM migrations WHERE status NOT IN ('completed', 'failed', 'cancelled', 'error')")
    return Database(
        status=shown["status"],
        host=shown[HOST],
        task_state=shown[TASK],
        migration=migration["status"],
        unfinished=int(unfinished[0][0]),
        held=tuple(_held(stage)),
        reasons=tuple(_reasons(stage, migration["id"])),
    )


def _held(stage: Stage) -> list[str]:
    over = "status IN ('completed', 'failed', 'cancelled', 'error')"
    rows = query(stage, f"SELECT id FROM migrations WHERE {over} AND (holds_slot OR owner IS NOT NULL)")
    found = [f"migration {row[0]} is over and holds a slot or an owner" for row in rows]
    rows = query(stage, "SELECT action FROM instance_actions WHERE finish_time IS NULL AND action = 'live-migration'")
    return found + [f"action {row[0]} has no end" for row in rows]


def _reasons(stage: Stage, migration_id: int) -> list[str]:
    rows = query(stage, f"SELECT reason FROM migrations WHERE id = {int(migration_id)}")
    message = query(
        stage,
        "SELECT message FROM instance_actions WHERE action = 'live-migration' AND instance_uuid = "
        f"(SELECT instance_uuid FROM migrations WHERE id = {int(migration_id)}) ORDER BY id DESC LIMIT 1",
    )
    return [row[0] for row in (*rows, *message) if row[0]]


def query(stage: Stage, sql: str) -> list[tuple[Any, ...]]:
    """Rows straight from the database; PostgreSQL's as text, NULL as an empty one."""
    if stage.options.own_postgresql:
        return list(postgres.query(stage.lab.layout, sql))
    if not sqlite_file(stage).exists():
        told = stage.lab.run("controller", [sys.executable, "-c", _ASK, f"{PRODUCT_STATE}/{SQLITE}", sql]).stdout
        return [tuple(row) for row in json.loads(told)]
    with contextlib.closing(sqlite3.connect(f"file:{sqlite_file(stage)}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(sql).fetchall()


def sqlite_file(stage: Stage) -> Path:
    """The database, as seen from outside: not there when a case has something mounted over its folder."""
    return stage.lab.layout.controller.folder / "state" / SQLITE


SQLITE = "nova-blockmigrate.sqlite"
_ASK = "import json, sqlite3, sys; print(json.dumps(sqlite3.connect(sys.argv[1], timeout=10).execute(sys.argv[2]).fetchall()))"
