"""Where a case is played: a laboratory that may be broken, a guest in it that writes records, and who is source and destination."""

import contextlib
import dataclasses
import datetime
import http.client
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultkit import guests, points
from faultkit.guests import Cast
from labkit import libvirt_host, machine, postgres, processes, rabbitmq
from labkit.commands import run, wait_until
from labkit.errors import LabError
from labkit.guest import Verdict, verify_records
from labkit.lab import Lab
from labkit.layout import INSTANCES
from labkit.progress import Progress
from labkit.scenario import HOST, Client, Server
from labkit.services import Options

HOSTS = ("compute1", "compute2")
PAYLOAD_MIB = 64
SLOW_MBIT_S = 120
"""So disk and memory take some ten seconds."""
RECORDS_PER_S = 5
"""Few, as emulation loses pages of a guest that does much while it moves; and reading all of them stays quick."""
MONITOR_WORDS = ("info status", "info registers", "info block-jobs", "info blockstats", "info block")
"""What QEMU says of a guest that does not go on."""
PART_LIMIT_S = 240
"""How long a part that is not ours may need to be back: an Erlang machine alone takes a minute where others want the processors.
What is measured begins when it is."""
SILENCE_S = 20
"""Two reports of a compute service that are missing."""
SILENCE_LIMIT_S = 60
FOREIGN = f"{INSTANCES}/somebody-elses/disk"
"""A file that nobody has in a ledger: it must survive everything."""
CONNECTION_ERRORS = (OSError, http.client.HTTPException)


class Stage:
    """One laboratory, used for many cases as long as they leave it consistent."""

    def __init__(self, lab: Lab, options: Options) -> None:
        self.lab, self.options = lab, options
        self.cast: Cast | None = None
        self.source, self.destination = HOSTS
        self._client: Client | None = None
        self._is_up = False
        self._is_spoilt = False

    # --- the laboratory -----------------------------------------------------------------------------------------------

    def up(self) -> None:
        self._is_up = False
        self.lab.up(options=self.options, progress=Progress())
        self._is_up, self._is_spoilt = True, False
        self._client, self.cast = None, None
        for host in HOSTS:
            foreign = self.path(host, FOREIGN)
            foreign.parent.mkdir(exist_ok=True)
            foreign.write_text("not yours\n")

    def use(self, database: str) -> None:
        """Have a laboratory that is up and runs on this database."""
        if self._is_up and database == self.options.database and not self._is_spoilt:
            return
        if self._is_up:
            self.lab.down(Progress(quiet=True))
        self.options = dataclasses.replace(self.options, database=database)
        self.up()

    def spoil(self) -> None:
        """A case left something behind: the next ones, which must not suffer from it, get a new laboratory."""
        self._is_spoilt = True

    def path(self, host: str, path: str) -> Path:
        """A file of a machine, as it sees it, from outside."""
        return self.lab.root(host) / path.lstrip("/")

    # --- the API ------------------------------------------------------------------------------------------------------

    def ask(self, question: Callable[[Client], Any]) -> Any:
        """Ask the API; a connection that broke is opened again once."""
        for last in (False, True):
            try:
                if self._client is None:
                    self._client = Client(self.lab)
                return question(self._client)
            except CONNECTION_ERRORS:
                self._client = None
                if last:
                    raise
        raise AssertionError("not reached")

    # --- the guest ----------------------------------------------------------------------------------------------------

    @property
    def server(self) -> Server | None:
        return self.cast.server if self.cast else None

    @property
    def guest(self) -> Server:
        if self.server is None:
            raise LabError("there is no guest on the stage")
        return self.server

    @property
    def volume(self) -> str:
        """Id of the volume that the guest writes to, if it has one."""
        return self.cast.volume if self.cast else ""

    def ready_guest(self, kind: str = guests.PLAIN) -> None:
        """A guest of this kind that answers, with a payload on its disk; where it is, is the source."""
        if self.cast is not None and self.cast.kind != kind:
            self.drop_guest()
        if self.cast is None:
            self.cast = self.ask(lambda client: guests.bring(self.lab, client, kind, HOSTS[0]))
            self.guest.guest.command(f"write-rate {RECORDS_PER_S}")
            self.guest.guest.write_payload(PAYLOAD_MIB)
        self.guest.guest.wait(30)
        wait_until(lambda: not self.silent_hosts(), SILENCE_LIMIT_S, "every compute service reports again", interval_s=0.2)
        self.source = self.ask(lambda client: client.server(self.guest.id))[HOST]
        self.destination = next(host for host in HOSTS if host != self.source)

    def silent_hosts(self) -> list[str]:
        """Those whose last report is so old that a migration which begins now may find them down: the case before cut them off."""
        services = self.ask(lambda client: client.request("GET", "/os-services?binary=nova-compute"))["services"]
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        recent = datetime.timedelta(seconds=SILENCE_S)
        return [each["host"] for each in services if now - datetime.datetime.fromisoformat(each["updated_at"]) > recent]

    def drop_guest(self) -> None:
        """Delete the guest; the next case gets a new one."""
        cast, self.cast = self.cast, None
        self.ask(lambda client: guests.dismiss(self.lab, client, cast, HOSTS))

    def migrate(self) -> None:
        body = {"os-migrateLive": {"host": self.destination, "block_migration": "auto"}}
        self.ask(lambda client: client.request("POST", f"/servers/{self.guest.id}/action", body))

    def qemu_pid(self, host: str) -> int | None:
        """The guest's QEMU on a host."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.path(host, f"/run/libvirt/qemu/{self.guest.domain}.pid").read_text())
            if self.guest.domain.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    # --- parts --------------------------------------------------------------------------------------------------------

    def host(self, role: str) -> str:
        return {"source": self.source, "destination": self.destination, "controller": "controller"}[role]

    def daemon(self, part: str) -> tuple[str, str]:
        """Machine and service of a part such as "conductor", "rabbitmq", "source compute", "destination libvirtd"."""
        role, _, service = part.rpartition(" ")
        return (self.host(role) if role else "controller"), service

    def signal(self, part: str, number: int) -> None:
        """Send a signal to a part; after SIGKILL it is gone."""
        machine_name, service = self.daemon(part)
        if service == postgres.DAEMON:
            self._signal_postgresql(number)
        elif service == "qemu":
            pid = self.qemu_pid(machine_name)
            if pid is None:
                raise LabError(f"there is no QEMU on {machine_name} to be broken")
            os.kill(pid, number)
            if number == signal.SIGKILL:
                wait_until(lambda: not Path(f"/proc/{pid}").exists(), 15, f"QEMU {pid} is gone", interval_s=0.005)
        else:
            self.lab.kill(machine_name, service, number)

    def _signal_postgresql(self, number: int) -> None:
        """To each of its processes: they are no group."""

        def own() -> list[int]:  # its children name themselves "postgres: …"
            found = processes.find(self.lab.layout).items()
            return [pid for pid, line in found if line.startswith("postgres:") or line.split()[0].endswith("/bin/postgres")]

        for pid in own():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not own(), 15, "PostgreSQL is gone")

    def start(self, part: str) -> None:
        """Start a part again; what others depend on is awaited, our own services are not."""
        machine_name, service = self.daemon(part)
        each = self.lab.machine(machine_name)
        if not machine.daemon_runs(self.lab.layout, each, service):
            self.lab.start(machine_name, service)
        if service == postgres.DAEMON:
            wait_until(lambda: postgres.answers(self.lab.layout), PART_LIMIT_S, "PostgreSQL is back", interval_s=0.1)
        elif service == rabbitmq.DAEMON:
            wait_until(self._broker_answers, PART_LIMIT_S, "RabbitMQ is back", interval_s=0.1)
        elif service == libvirt_host.DAEMON:
            told = f"libvirtd of {machine_name} is back"
            wait_until(lambda: self._libvirt_answers(machine_name), PART_LIMIT_S, told, interval_s=0.1)

    def _broker_answers(self) -> bool:
        record = self.lab.record
        return record is not None and rabbitmq.answers(self.lab.layout, record.password)

    def _libvirt_answers(self, host: str) -> bool:
        return run(self.lab.command(host, ["virsh", "version"], "/"), check=False, timeout_s=20).returncode == 0

    # --- the network --------------------------------------------------------------------------------------------------

    def slow_down(self) -> None:
        for host in HOSTS:
            self.lab.limit_rate(host, SLOW_MBIT_S)

    def speed_up(self) -> None:
        for host in HOSTS:
            self.lab.limit_rate(host, None)

    def heal(self) -> None:
        """Whatever a case broke of networks and points, and did not mend itself."""
        points.clear_all(self.lab)
        self.speed_up()
        for host in HOSTS:
            self.lab.rejoin(host)
            for network in ("management", "tenant"):
                self.lab.heal(host, network)

    def keep_traces(self, folder: Path) -> None:
        """What a person wants to see of hosts that a case left in disorder: domains, links, rules, the guest's console."""
        looks = [["virsh", "list", "--all"], ["ip", "-d", "addr"], ["bridge", "link"], ["nft", "list", "ruleset"], ["ps", "axf"]]
        if self.server is not None:
            looks += [["virsh", "qemu-monitor-command", "--hmp", self.server.domain, words] for words in MONITOR_WORDS]
        for host in HOSTS:
            told = [run(self.lab.command(host, argv, "/"), check=False, timeout_s=20).stdout for argv in looks]
            (folder / f"{host}.txt").write_text("\n".join(told))
            for console in self.path(host, INSTANCES).glob("*/console.log"):
                shutil.copyfile(console, folder / f"{host}-console.log")
            for log in self.path(host, "/var/log/libvirt/qemu").glob("*.log"):
                shutil.copyfile(log, folder / f"{host}-{log.name}")

    def guest_lost_pages(self) -> bool:
        """Whether its console tells of damage that only lost memory explains: its kernel gave up, or its rings are wrong."""
        for host in HOSTS:
            with contextlib.suppress(OSError):
                told = self.path(host, f"{self.guest.folder}/console.log").read_bytes()
                if any(words in told for words in (b"Kernel panic", b"is not a head", b"Oops", b"BUG:")):
                    return True
        return False

    def status(self) -> dict[str, Any] | None:
        """The guest's own word, or None when it does not answer."""
        with contextlib.suppress(OSError, ValueError, LabError):
            return self.guest.guest.status(1)
        return None

    def verify_on_disk(self, host: str) -> Verdict:
        """The records on the disk file of a guest that does not run."""
        return verify_records(self.guest.disk, lambda argv: self.lab.command(host, argv, "/"))
