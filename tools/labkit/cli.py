"""The command line of `tools/lab`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable

from labkit import console, status
from labkit.errors import LabError, StepFailed
from labkit.fabric import NETWORKS
from labkit.lab import NOVA, Lab
from labkit.layout import CONTROLLER, state_folder
from labkit.nova import DRIVERS
from labkit.progress import Progress, tail
from labkit.services import Options

Command = Callable[[Lab, list[str]], int]


def up(lab: Lab, arguments: list[str]) -> int:
    """bring everything up that is not, and wait until it answers"""
    parser = argparse.ArgumentParser("lab up", description=up.__doc__)
    parser.add_argument("--no-services", action="store_true", help="hosts and RabbitMQ only")
    parser.add_argument("--hosts", type=int, help="how many compute hosts (2)")
    parser.add_argument("--concurrency", choices=["eventlet", "threading"], help="what our services run on")
    parser.add_argument("--database", help="postgresql: one of its own; or a database URL, instead of the controller's SQLite file")
    parser.add_argument("--keystone", action="store_true", help="a real Keystone says who is who, instead of the token file")
    parser.add_argument("--neutron", action="store_true", help="a real Neutron has the networks (and Keystone says who is who)")
    parser.add_argument("--glance", action="store_true", help="a real Glance has the images (and Keystone says who is who)")
    parser.add_argument("--horizon", action="store_true", help="a real Horizon, at port 8080 of the controller (and Keystone)")
    parser.add_argument("--openstack", action="store_true", help="an unmodified OpenStack with Nova, instead of our services")
    parser.add_argument("--driver", choices=sorted(DRIVERS), default="ours", help="the compute driver of that Nova")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args(arguments)
    given.nova = given.driver if given.openstack else ""
    if given.nova:
        given.neutron = given.glance = True
        given.database = "postgresql"
        given.concurrency = given.concurrency or "threading"
    given.keystone |= given.neutron or given.glance or given.horizon
    progress = Progress(given.quiet)
    names = ("concurrency", "database", "keystone", "neutron", "glance", "horizon", "nova")
    chosen = {name: value for name in names if (value := getattr(given, name))}
    lab.up(hosts=given.hosts, with_services=not given.no_services, options=Options(**chosen) if chosen else None, progress=progress)
    progress.finish(f"laboratory {lab.layout.id} is up")
    return 0


def down(lab: Lab, arguments: list[str]) -> int:
    """end and remove everything, whatever state it is in"""
    parser = argparse.ArgumentParser("lab down", description=down.__doc__)
    parser.add_argument("--quiet", action="store_true")
    progress = Progress(parser.parse_args(arguments).quiet)
    lab.down(progress)
    progress.finish(f"laboratory {lab.layout.id} is gone")
    return 0


def show_status(lab: Lab, arguments: list[str]) -> int:
    """processes, namespaces, services and addresses; exit code 0 only if all is well"""
    parser = argparse.ArgumentParser("lab status", description=show_status.__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args(arguments).json
    found = status.look(lab)
    print(json.dumps(found.to_json(), indent=1) if as_json else status.describe(found))
    return 1 if found.problems else 0


def execute(lab: Lab, arguments: list[str]) -> int:
    """run a command on a machine: exec compute1 virsh list --all"""
    if not arguments:
        raise LabError("exec HOST [COMMAND...]")
    name, *argv = arguments
    return _become(lab, name, argv or ["bash"], administrator=False)


def run_as_administrator(lab: Lab, arguments: list[str]) -> int:
    """run a command on the controller with the administrator's credentials"""
    return _become(lab, CONTROLLER, arguments or ["bash"], administrator=True)


def nova(lab: Lab, arguments: list[str]) -> int:
    """run the nova client: nova live-migration --block-migrate NAME HOST"""
    return _become(lab, CONTROLLER, [*NOVA, *arguments], administrator=True)


def _become(lab: Lab, name: str, argv: list[str], *, administrator: bool) -> int:
    command, environment = lab.command(name, argv), lab.environment(administrator)
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def show_console(lab: Lab, arguments: list[str]) -> int:
    """the console log of a server, wherever it runs"""
    parser = argparse.ArgumentParser("lab console", description=show_console.__doc__)
    parser.add_argument("server", help="name or id")
    parser.add_argument("-f", "--follow", action="store_true")
    given = parser.parse_args(arguments)
    console.show(lab, given.server, given.follow)
    return 0


def _service_argument(command: str, arguments: list[str]) -> tuple[str, str]:
    machine, colon, service = (arguments[0] if len(arguments) == 1 else "").partition(":")
    if not colon:
        raise LabError(f"{command} MACHINE:SERVICE, such as compute1:compute")
    return machine, service


def restart(lab: Lab, arguments: list[str]) -> int:
    """restart a service: restart compute1:compute"""
    lab.restart(*_service_argument("restart", arguments))
    return 0


def start(lab: Lab, arguments: list[str]) -> int:
    """start a service that was stopped or killed: start compute1:libvirtd"""
    lab.start(*_service_argument("start", arguments))
    return 0


def stop(lab: Lab, arguments: list[str]) -> int:
    """stop a service: stop controller:conductor"""
    lab.stop(*_service_argument("stop", arguments))
    return 0


def kill(lab: Lab, arguments: list[str]) -> int:
    """kill -9 a service: kill compute1:compute"""
    lab.kill(*_service_argument("kill", arguments), signal.SIGKILL)
    return 0


def show_log(lab: Lab, arguments: list[str]) -> int:
    """the log of a service: log controller:api [-f]"""
    follow = [argument for argument in arguments if argument == "-f"]
    machine, service = _service_argument("log", [argument for argument in arguments if argument != "-f"])
    path = lab.layout.log_of(lab.machine(machine), service)
    os.execvp("tail", ["tail", "-n", "+1" if not follow else "50", *(["-F"] if follow else []), str(path)])


def _cable_argument(command: str, arguments: list[str]) -> tuple[str, str]:
    if not 1 <= len(arguments) <= 2:
        raise LabError(f"{command} HOST [{'|'.join(NETWORKS)}]")
    return arguments[0], arguments[1] if len(arguments) == 2 else NETWORKS[0]


def cut(lab: Lab, arguments: list[str]) -> int:
    """pull a host's cable: cut compute1 [management|tenant]"""
    lab.cut(*_cable_argument("cut", arguments))
    return 0


def heal(lab: Lab, arguments: list[str]) -> int:
    """plug a host's cable in again: heal compute1 [management|tenant]"""
    lab.heal(*_cable_argument("heal", arguments))
    return 0


COMMANDS: dict[str, Command] = {
    "up": up,
    "down": down,
    "status": show_status,
    "exec": execute,
    "run": run_as_administrator,
    "nova": nova,
    "console": show_console,
    "log": show_log,
    "start": start,
    "stop": stop,
    "restart": restart,
    "kill": kill,
    "cut": cut,
    "heal": heal,
}


def main(argv: list[str]) -> int:
    given = _parser().parse_args(argv)
    try:
        return COMMANDS[given.command](Lab(state_folder(given.state)), given.arguments)
    except StepFailed as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        if error.log:
            print(f"--- {error.log}\n{tail(error.log)}", file=sys.stderr)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    overview = "\n".join(f"  {name:<10}{command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "lab",
        description="Two real KVM hosts and the services, on this machine.",
        epilog=f"commands:\n{overview}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", metavar="DIR", help="the laboratory's folder (NBM_LAB, else .lab in the repository)")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    return parser
