"""The laboratory as a whole: up, down, and the way for programs to work in it."""

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from labkit import (
    api,
    fabric,
    glance,
    guest_image,
    horizon,
    keystone,
    libvirt_host,
    machine,
    mountpoints,
    neutron,
    nova,
    nova_venv,
    openstack_venv,
    packages,
    postgres,
    processes,
    rabbitmq,
    seed,
    services,
    tgt,
)
from labkit.commands import run, wait_until
from labkit.errors import LabError
from labkit.layout import VENV, Layout, Machine
from labkit.locks import locked_folder
from labkit.progress import Progress


@dataclass(frozen=True)
class Record:
    """What the laboratory in a folder was asked to be; kept there, readable by its owner only."""

    hosts: int = 2
    with_services: bool = True
    options: services.Options = field(default_factory=services.Options)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, path: Path) -> "Record | None":
        try:
            kept = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return cls(**{**kept, "options": services.Options(**kept["options"])})

    def save(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=1))


class Lab:
    """The laboratory whose state is in a folder, whether it is up or not."""

    def __init__(self, state: Path) -> None:
        self.record = Record.load(state / "lab.json")
        self.layout = Layout(state, self.record.hosts if self.record else 2)
        self.own_network = ""
        """Id of `seed.NETWORK`, when somebody has asked for it."""

    # Up

    def up(
        self,
        *,
        hosts: int | None = None,
        with_services: bool = True,
        options: services.Options | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Bring everything up that is not, and wait until it answers. StepFailed says what did not, and which log to read."""
        if os.geteuid() != 0:
            raise LabError("only root can make namespaces and run libvirt's daemons: try sudo")
        progress = progress or Progress(quiet=True)
        self.own_network = ""
        with locked_folder(self.layout.state):
            self._remember(hosts, with_services, options)
            image = self._gather(progress, with_services)
            self._build_machines(progress)
            self._start_hosts(progress)
            if with_services and self._record.options.nova:
                self._start_nova(progress, image)
            elif with_services:
                self._start_services(progress, image)
            else:
                self._wait_for_broker(progress)

    def _remember(self, hosts: int | None, with_services: bool, options: services.Options | None) -> None:
        state = self.layout.state
        if not self.layout.record.exists() and any(state.iterdir()):
            raise LabError(f"{state} has files that are not a laboratory's: choose an empty folder")
        before = Record.load(self.layout.record)
        record = before or Record()
        if hosts and before and hosts != before.hosts and fabric.namespaces_of(self.layout):
            raise LabError(f"the laboratory has {before.hosts} hosts: take it down before changing that")
        self.record = replace(
            record,
            hosts=hosts or record.hosts,
            with_services=with_services or (before is not None and before.with_services),
            options=options or record.options,
        )
        self.layout = Layout(state, self.record.hosts)
        self.record.save(self.layout.record)

    def _gather(self, progress: Progress, with_services: bool) -> Path:
        with progress.step("Debian packages"):
            packages.ensure_packages(self._further_packages())
        if with_services:
            with progress.step("virtual environment"):
                packages.ensure_venv()
        if with_services and self._record.options.keystone:
            with progress.step("virtual environment of OpenStack"):
                openstack_venv.ensure_venv()
        if with_services and self._record.options.nova:
            with progress.step("virtual environment of Nova"):
                nova_venv.ensure_venv()
        with progress.step("guest image"):
            image = guest_image.ensure_image()
            for folder in (self.layout.logs, self.layout.run, self.layout.images):
                folder.mkdir(exist_ok=True)
            return image

    def _further_packages(self) -> tuple[str, ...]:
        options = self._record.options
        return (*(postgres.PACKAGES if options.own_postgresql else ()), *(nova.PACKAGES if options.nova else ()))

    def _build_machines(self, progress: Progress) -> None:
        layout = self.layout
        if all(machine.is_alive(layout, each) for each in layout.machines):
            return
        with progress.step("network"):
            self._clear()
            mountpoints.acquire(layout, machine.MOUNT_POINTS)
            fabric.build(layout)
        for each in layout.machines:
            with progress.step(f"machine {each.name}", layout.log_of(each, "init")):
                machine.prepare(layout, each)
                if not each.is_controller:
                    libvirt_host.configure(each)
                machine.boot(layout, each)

    def _start_hosts(self, progress: Progress) -> None:
        """Everything that is slow to start is started first and waited for together."""
        layout = self.layout
        if not machine.daemon_runs(layout, layout.controller, rabbitmq.DAEMON):
            rabbitmq.start(layout, self._record.password)
        if not machine.daemon_runs(layout, layout.controller, tgt.DAEMON):
            tgt.start(layout)
        for host in layout.hosts:
            if not machine.daemon_runs(layout, host, libvirt_host.DAEMON):
                libvirt_host.start(layout, host)
        for number, host in enumerate(layout.hosts):
            other = layout.hosts[number - 1] if len(layout.hosts) > 1 else layout.controller
            answers = functools.partial(libvirt_host.answers, layout, host, asked_from=other)
            self._wait(progress, f"libvirtd of {host.name} answers {other.name}", host, libvirt_host.DAEMON, answers, 30)

        self._wait(progress, "tgtd answers", layout.controller, tgt.DAEMON, functools.partial(tgt.answers, layout), 30)

    def _wait_for_broker(self, progress: Progress) -> None:
        self._wait(
            progress,
            "RabbitMQ lets us in",
            self.layout.controller,
            rabbitmq.DAEMON,
            lambda: rabbitmq.answers(self.layout, self._record.password),
            90,
        )

    def _start_services(self, progress: Progress, image: Path) -> None:
        layout, controller = self.layout, self.layout.controller
        for each in layout.machines:
            services.configure(layout, each, self._record.password, self._record.options)
        if self._record.options.own_postgresql:
            self._start_postgresql(progress)
        with progress.step("database"):
            seed.sync_database(layout)
            if not self._record.options.keystone:
                seed.create_token(layout)
        with progress.step("flavors, network, image"):
            seed.create_resources(layout, None if self._record.options.glance else image)
        self._wait_for_broker(progress)
        self._start_openstack(progress, image)
        for each in layout.machines:
            for name in services.of(each):
                if not machine.daemon_runs(layout, each, name):
                    services.start(layout, each, name, self._record.options)
        self._wait(progress, "API answers", controller, "api", lambda: api.answers(layout), 60)
        self._wait_for_services(progress)

    def _start_postgresql(self, progress: Progress) -> None:
        layout, controller = self.layout, self.layout.controller
        if not machine.daemon_runs(layout, controller, postgres.DAEMON):
            postgres.start(layout)
        self._wait(progress, "PostgreSQL answers", controller, postgres.DAEMON, lambda: postgres.answers(layout), 30)
        postgres.create_database(layout)

    def _start_openstack(self, progress: Progress, image: Path) -> None:
        """Keystone, Glance, and Neutron with its agents, as far as they were asked for."""
        layout, controller, password = self.layout, self.layout.controller, self._record.password
        if not self._record.options.keystone:
            return
        with progress.step("Keystone's database"):
            if not machine.daemon_runs(layout, controller, keystone.DAEMON):
                keystone.start(layout, password)
        self._wait(progress, "Keystone answers", controller, keystone.DAEMON, lambda: keystone.answers(layout), 60)
        with progress.step("projects, users, services"):
            keystone.populate(layout, password, self._record.options.glance, bool(self._record.options.nova))
            seed.create_keystone_credentials(layout, password)
        if self._record.options.glance:
            self._start_glance(progress, image)
        if self._record.options.horizon:
            self._start_horizon(progress)
        if not self._record.options.neutron:
            return
        with progress.step("Neutron's database"):
            neutron.make_tables(layout)
        for each in layout.machines:
            for name in neutron.daemons_of(each):
                if not machine.daemon_runs(layout, each, name):
                    neutron.start(layout, each, name, password, self._record.options.vif_type)
        self._wait(progress, "Neutron answers", controller, neutron.API, lambda: neutron.answers(layout), 90)
        token, hosts = seed.token_of(layout), {host.name for host in layout.hosts}
        alive = functools.partial(neutron.live_agents, layout, token)
        self._wait(progress, "Neutron's agents report", controller, neutron.RPC, lambda: alive() >= hosts, 90)
        with progress.step("Neutron's network"):
            neutron.ensure_network(layout, token)

    def _start_glance(self, progress: Progress, image: Path) -> None:
        layout, controller, password = self.layout, self.layout.controller, self._record.password
        with progress.step("Glance's database"):
            glance.make_tables(layout, password)
        if not machine.daemon_runs(layout, controller, glance.DAEMON):
            glance.start(layout, password)
        self._wait(progress, "Glance answers", controller, glance.DAEMON, lambda: glance.answers(layout), 60)
        with progress.step("Glance's image"):
            glance.ensure_image(layout, seed.token_of(layout), seed.IMAGE, image)

    def _start_horizon(self, progress: Progress) -> None:
        layout, controller = self.layout, self.layout.controller
        with progress.step("Horizon's files"):
            horizon.gather_files(layout)
        if not machine.daemon_runs(layout, controller, horizon.DAEMON):
            horizon.start(layout)
        self._wait(progress, "Horizon answers", controller, horizon.DAEMON, lambda: horizon.answers(layout), 120)

    def _start_nova(self, progress: Progress, image: Path) -> None:
        """A real OpenStack in place of our services: its Nova is as its makers released it, whatever driver it uses."""
        layout, controller, options = self.layout, self.layout.controller, self._record.options
        self._start_postgresql(progress)
        self._wait_for_broker(progress)
        self._start_openstack(progress, image)
        with progress.step("Nova's and placement's databases"):
            nova.make_tables(layout, self._record.password, options.nova, options.concurrency)
        for each in layout.machines:
            for name in nova.daemons_of(each):
                if not machine.daemon_runs(layout, each, name):
                    nova.start(layout, each, name, self._record.password, options.nova, options.concurrency)
        self._wait(progress, "placement answers", controller, nova.PLACEMENT, lambda: nova.placement_answers(layout), 90)
        self._wait(progress, "Nova's API answers", controller, nova.API, lambda: nova.api_answers(layout), 120)
        token = seed.token_of(layout)
        for host in layout.hosts:
            up = functools.partial(lambda name: (name, nova.COMPUTE) in nova.services_up(layout, token), host.name)
            self._wait(progress, f"{nova.COMPUTE} of {host.name} reports", host, nova.COMPUTE, up, 120)
        with progress.step("cell, flavors"):
            nova.discover_hosts(layout)
            nova.ensure_flavors(layout, token)

    def _wait_for_services(self, progress: Progress) -> None:
        token = seed.token_of(self.layout)
        for each in (self.layout.controller, *self.layout.hosts):
            name = "conductor" if each.is_controller else "compute"
            wanted = f"{name} on {each.name}"

            def ready(wanted: str = wanted) -> bool:
                missing = api.missing_services(self.layout, token)
                return wanted not in missing and not any("list of services" in entry for entry in missing)

            self._wait(progress, f"{wanted} is up", each, name, ready, 60)

    def _wait(
        self, progress: Progress, title: str, each: Machine, daemon: str, condition: Callable[[], bool], timeout_s: float
    ) -> None:
        with progress.step(title, self.layout.log_of(each, daemon)):
            wait_until(
                condition, timeout_s, title, interval_s=0.1, still_possible=lambda: machine.daemon_runs(self.layout, each, daemon)
            )

    @property
    def _record(self) -> Record:
        if self.record is None:
            raise LabError(f"no laboratory in {self.layout.state}: `tools/lab up`")
        return self.record

    # Down

    def down(self, progress: Progress | None = None) -> None:
        """End every process, then remove namespaces, mounts and files. Works from any state, also without a record."""
        progress = progress or Progress(quiet=True)
        with locked_folder(self.layout.state):
            with progress.step("processes, mounts, namespaces"):
                self._clear()
                mountpoints.release(self.layout)
            with progress.step("files"):
                self._remove_files()
        self.record = None

    def _clear(self) -> None:
        processes.kill_all(self.layout)
        fabric.remove(fabric.namespaces_of(self.layout))

    def _remove_files(self) -> None:
        state = self.layout.state
        if self.layout.record.exists():
            shutil.rmtree(state)
        else:
            with contextlib.suppress(OSError):  # not ours unless it is empty
                state.rmdir()

    # Working in it

    def machine(self, name: str) -> Machine:
        return self.layout.machine(name)

    def command(self, name: str, argv: Sequence[str], cwd: str | None = None) -> list[str]:
        """The command line that runs `argv` on a machine, from anywhere."""
        return machine.entering(self.layout, self.machine(name), argv, cwd)

    def environment(self, administrator: bool = False) -> dict[str, str]:
        """The environment for commands on a machine, with the administrator's credentials if asked."""
        environ = {**machine.environment(), "NBM_LAB": str(self.layout.state)}
        if administrator:
            environ |= services.read_credentials(self.layout.credentials) if self.layout.credentials.exists() else {}
        return environ

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 600,
        administrator: bool = False,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a machine to its end; CommandFailed unless it ends with 0 or `check` is off."""
        environ = {**self.environment(administrator), **(env or {})}
        return run(self.command(name, argv), env=environ, check=check, timeout_s=timeout_s, input=input)

    def popen(self, name: str, argv: Sequence[str], *, administrator: bool = False, **options: Any) -> subprocess.Popen[Any]:
        """Start a program on a machine; `options` are Popen's."""
        return subprocess.Popen(self.command(name, argv), env=self.environment(administrator), **options)

    def nova(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the `nova` client as the administrator."""
        return self.run("controller", [*NOVA, *arguments], administrator=True, **options)

    def inside_network(self, name: str = "controller") -> contextlib.AbstractContextManager[None]:
        """This thread's new sockets belong to the machine's network while the context lasts."""
        return fabric.inside(self.machine(name).namespace)

    # Services

    def start(self, name: str, service: str) -> None:
        """Start one daemon again: rabbitmq, tgtd, libvirtd or a service of ours."""
        each = self.machine(name)
        if service == rabbitmq.DAEMON and each.is_controller:
            rabbitmq.start(self.layout, self._record.password)
        elif service == postgres.DAEMON and each.is_controller and self._record.options.own_postgresql:
            postgres.start(self.layout)
        elif service == tgt.DAEMON and each.is_controller:
            tgt.start(self.layout)
        elif service == libvirt_host.DAEMON and not each.is_controller:
            libvirt_host.start(self.layout, each)
        elif self._record.options.nova and service in nova.daemons_of(each):
            options = self._record.options
            nova.start(self.layout, each, service, self._record.password, options.nova, options.concurrency)
        elif not self._record.options.nova and service in services.of(each):
            services.start(self.layout, each, service, self._record.options)
        elif service == keystone.DAEMON and each.is_controller and self._record.options.keystone:
            keystone.start(self.layout, self._record.password)
        elif service == glance.DAEMON and each.is_controller and self._record.options.glance:
            glance.start(self.layout, self._record.password)
        elif service == horizon.DAEMON and each.is_controller and self._record.options.horizon:
            horizon.start(self.layout)
        elif service in neutron.daemons_of(each) and self._record.options.neutron:
            neutron.start(self.layout, each, service, self._record.password, self._record.options.vif_type)
        else:
            raise LabError(f"{name} has no service {service!r}; it has {', '.join(self.services_of(each))}")

    def stop(self, name: str, service: str, timeout_s: float = 15) -> None:
        machine.stop_daemon(self.layout, self.machine(name), service, timeout_s)

    def kill(self, name: str, service: str, number: int) -> None:
        """Send a signal to one daemon's process group; returns after SIGKILL when it is gone."""
        each = self.machine(name)
        machine.signal_daemon(self.layout, each, service, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not machine.daemon_runs(self.layout, each, service), 10, f"{service} of {name} is gone")

    def restart(self, name: str, service: str) -> None:
        if machine.daemon_runs(self.layout, self.machine(name), service):
            self.stop(name, service)
        self.start(name, service)

    def cut(self, name: str, network: str = "management") -> None:
        """Pull a host's cable, until `heal`."""
        fabric.cut(self.layout, self.machine(name), network)

    def limit_rate(self, name: str, mbit_s: int | None) -> None:
        """Let a host send no faster than this over the management network; None: as fast as it can."""
        fabric.limit_rate(self.machine(name), mbit_s)

    def heal(self, name: str, network: str = "management") -> None:
        fabric.heal(self.layout, self.machine(name), network)

    def separate(self, name: str, other: str) -> None:
        """Drop everything between two machines, until `rejoin`; both go on reaching all others."""
        fabric.separate(self.machine(name), self.machine(other).management_ip)

    def deafen(self, name: str, other: str, ports: tuple[int, ...]) -> None:
        """Drop what comes to a machine from another one by these TCP ports, until `rejoin`."""
        fabric.deafen(self.machine(name), self.machine(other).management_ip, ports)

    def rejoin(self, name: str) -> None:
        """Undo every `separate` and `deafen` of a machine."""
        fabric.rejoin(self.machine(name))

    def root(self, name: str) -> Path:
        """The machine's file system as it sees it, from outside."""
        return Path(f"/proc/{machine.pid(self.layout, self.machine(name))}/root")

    def services_of(self, each: Machine) -> tuple[str, ...]:
        """The daemons that the machine should have."""
        record = self._record
        if not record.with_services:
            return (rabbitmq.DAEMON, tgt.DAEMON) if each.is_controller else (libvirt_host.DAEMON,)
        network = neutron.daemons_of(each) if record.options.neutron else ()
        compute = nova.daemons_of(each) if record.options.nova else services.of(each)
        if not each.is_controller:
            return (libvirt_host.DAEMON, *network, *compute)
        database = (postgres.DAEMON,) if record.options.own_postgresql else ()
        identity = (keystone.DAEMON,) if record.options.keystone else ()
        images = (glance.DAEMON,) if record.options.glance else ()
        dashboard = (horizon.DAEMON,) if record.options.horizon else ()
        return (rabbitmq.DAEMON, tgt.DAEMON, *database, *identity, *images, *dashboard, *network, *compute)


# The client says at length that it is deprecated, and its libraries likewise.
NOVA = (str(VENV / "bin/python"), "-W", "ignore", str(VENV / "bin/nova"))
