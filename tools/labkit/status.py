"""What there is of a laboratory, and whether all of it is well."""

from dataclasses import asdict, dataclass, field
from typing import Any

from labkit import api, fabric, machine, processes, seed
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.layout import Machine


@dataclass
class Status:
    """JSON-ready; `problems` is empty when all is well."""

    state: str
    id: str
    tenant_network: str
    endpoint: str
    machines: list[dict[str, Any]] = field(default_factory=list)
    processes: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look(lab: Lab) -> Status:
    layout = lab.layout
    status = Status(str(layout.state), layout.id, layout.tenant_cidr, layout.endpoint)
    status.processes = processes.find(layout)
    if lab.record is None:
        status.problems.append("not up")
        return status
    for each in layout.machines:
        status.machines.append(_look_at(lab, each, status.problems))
    if lab.record.with_services and not lab.record.options.nova and not status.problems:
        status.problems += [f"not up: {name}" for name in api.missing_services(layout, seed.token_of(layout))]
    return status


def _look_at(lab: Lab, each: Machine, problems: list[str]) -> dict[str, Any]:
    layout = lab.layout
    report: dict[str, Any] = {
        "name": each.name,
        "address": each.management_ip,
        "namespace": each.namespace if fabric.exists(each) else None,
        "services": {},
    }
    try:
        daemons = machine.daemons(layout, each)
    except (OSError, LabError) as error:
        problems.append(f"machine {each.name} does not answer: {error}")
        return report
    for name in lab.services_of(each):
        entry = daemons.get(name, {"pid": None, "exit_code": None})
        running = entry["pid"] is not None and entry["exit_code"] is None
        report["services"][name] = {**entry, "running": running, "log": str(layout.log_of(each, name))}
        if not running:
            problems.append(f"{each.name}:{name} does not run; see {layout.log_of(each, name)}")
    return report


def describe(status: Status) -> str:
    lines = [f"laboratory {status.id} in {status.state}", f"tenant network {status.tenant_network}, API {status.endpoint}"]
    for each in status.machines:
        lines.append(f"{each['name']:<12}{each['address']:<16}namespace {each['namespace'] or '-'}")
        for name, service in each["services"].items():
            state = f"pid {service['pid']}" if service["running"] else "NOT RUNNING"
            lines.append(f"    {name:<12}{state:<16}{service['log']}")
    lines.append(f"{len(status.processes)} processes")
    lines += [f"problem: {problem}" for problem in status.problems]
    return "\n".join(lines)
