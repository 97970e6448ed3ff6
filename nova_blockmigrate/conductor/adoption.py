"""Adoption: guests that somebody else made become servers, and may be released again. Nothing changes on the host either way.

Each call is short: what takes a host long (hashing the files of its guests for the first time) is asked after again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import oslo_messaging
from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor.preflight import Facts, HostFacts
from nova_blockmigrate.conductor.preflight.registry import evaluate_only
from nova_blockmigrate.conductor.settings import server_of
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, compute_nodes, instances, migrations, server_lists, volumes
from nova_blockmigrate.objects import (
    CheckResult,
    GuestDescription,
    PowerState,
    Server,
    StepReport,
    StepState,
    TaskState,
    VmState,
    from_primitive,
    to_primitive,
)
from nova_blockmigrate.survey import FoundGuest, GuestSurvey

LOG = log.getLogger(__name__)

WAIT_S = 10.0
GIB = 1024**3
ZONE = "nova"
GUEST_CHECKS = ("chain", "formats", "layout", "snapshots", "jobs", "devices", "blockers")
"""Checks that concern the guest alone, wherever it may go."""
ADOPTED, ADOPTABLE, REFUSED, KNOWN = "adopted", "can be adopted", "refused", "is a server already"
_VM_STATES = {
    PowerState.RUNNING: VmState.ACTIVE,
    PowerState.PAUSED: VmState.PAUSED,
    PowerState.SUSPENDED: VmState.ACTIVE,
}


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose server an adopted guest becomes."""

    project_id: str
    user_id: str


@dataclasses.dataclass(frozen=True)
class Looked:
    """A guest of a host, as the host tells of it."""

    found: FoundGuest
    guest: GuestDescription | None
    survey: GuestSurvey


class Adoption:
    def __init__(self, computes: ComputeAPI) -> None:
        self._computes = computes

    def adopt(
        self, context: RequestContext, host: str, names: list[str], owner: Owner, dry_run: bool
    ) -> list[dict[str, Any]] | None:
        """Make servers of guests by their names or UUIDs (without any: of all). None: the host is still looking at them.

        Each result: name, uuid, result, reason (of a refusal), obstacles (why it could not be moved now), and what it has.

        :raises ComputeHostNotFound, DomainNotFound, Conflict: nothing was adopted.
        """
        with session.reader() as db:
            compute_nodes.get_by_host(db, host)
        report = self._computes.find_guests(context, host, names, WAIT_S)
        if report.state is StepState.RUNNING:
            return None
        if report.state is StepState.FAILED:
            raise exceptions.Conflict(f"{host}: {report.error}")
        looked = [_looked(each) for each in report.result]
        unknown = set(names) - {name for each in looked for name in (each.found.uuid, each.found.name)}
        if unknown:
            raise exceptions.DomainNotFound(names=", ".join(sorted(unknown)), host=host)
        return [self._adopt_one(context, host, each, owner, dry_run) for each in looked]

    def _adopt_one(self, context: RequestContext, host: str, looked: Looked, owner: Owner, dry_run: bool) -> dict[str, Any]:
        found = looked.found
        record = {
            "name": found.name,
            "uuid": found.uuid,
            "result": ADOPTABLE,
            "reason": "",
            "obstacles": obstacles(host, looked),
            "memory_mib": found.memory_mib,
            "vcpus": found.vcpus,
            "disk_gib": -(-found.disk_bytes // GIB),
            "interfaces": list(found.interfaces),
            "volumes": list(found.volumes),
        }
        if _is_known(found.uuid):
            return record | {"result": KNOWN}
        if reason := refusal(found):
            return record | {"result": REFUSED, "reason": reason}
        if not dry_run:
            try:
                self._make_server(context, host, looked, owner)
            except (exceptions.BlockMigrateError, oslo_messaging.MessagingException) as error:
                return record | {"result": REFUSED, "reason": str(error)}
            LOG.info("[server %s] adopted on %s (domain %s)", found.uuid, host, found.name)
            record["result"] = ADOPTED
        return record

    def _make_server(self, context: RequestContext, host: str, looked: Looked, owner: Owner) -> None:
        """First the host writes down what belongs to the guest, then the server is there. Without its row, what a host has
        written down is nobody's, and nothing is ever done with it."""
        found = looked.found
        self._run(context, host, "adopt", Server(found.uuid, found.name, found.name, found.memory_mib, found.vcpus, 0, None))
        with session.writer() as db:
            _insert(db, context, host, found, owner)

    def release(self, context: RequestContext, named: str) -> str:
        """Forget an adopted server, by its UUID or name. Its guest goes on, on whatever host it is now. Returns the UUID.

        :raises InstanceNotFound, Conflict, NotAdopted, InstanceInvalidState:
        """
        with session.writer() as db:
            instance = _named(db, named)
            server_uuid = instance.uuid
            if instance.adopted is None:
                raise exceptions.NotAdopted(server=instance.display_name)
            if volumes.of_instance(db, instance.id):
                raise exceptions.Conflict(f"Server {instance.display_name} has volumes of this system: detach them first.")
            if migrations.in_progress(db, server_uuid) is not None:
                raise exceptions.Conflict(f"A migration of server {instance.display_name} is not completed yet: try again.")
            if not instances.swap_task_state(db, server_uuid, [None], TaskState.DELETING.value):
                raise exceptions.InstanceInvalidState(
                    instance_uuid=server_uuid, attr="task_state", state=instance.task_state, method="release"
                )
        try:
            self._run(context, instance.host or "", "release", server_of(instance))
            with session.writer() as db:
                instances.forget(db, server_uuid)
        except BaseException:  # whatever it was, the server is as before, and may be tried again
            with session.writer() as db:
                instances.swap_task_state(db, server_uuid, [TaskState.DELETING.value], None)
            raise
        LOG.info("[server %s] released on %s (domain %s)", server_uuid, instance.host, instance.domain_name)
        return server_uuid

    def _run(self, context: RequestContext, host: str, job: str, server: Server) -> None:
        """
        :raises Conflict: the host could not do it, or not in time.
        """
        report: StepReport = self._computes.run_server_job(context, host, job, to_primitive(server), {}, WAIT_S)
        if report.state is not StepState.DONE:
            raise exceptions.Conflict(f"{host}: {report.error or 'it takes too long: try again'}")


# --- what a guest is (pure) -----------------------------------------------------------------------------------------------


def _looked(answer: dict[str, Any]) -> Looked:
    guest = from_primitive(GuestDescription, answer["guest"]) if answer["guest"] else None
    return Looked(from_primitive(FoundGuest, answer["found"]), guest, from_primitive(GuestSurvey, answer["guest_survey"]))


def refusal(found: FoundGuest) -> str:
    """Why a guest cannot become a server, in words; empty when it can."""
    if not found.persistent:
        return "it is transient: libvirt would forget it when it stops; make it persistent (virsh dumpxml, virsh define)"
    return ""


def obstacles(host: str, looked: Looked) -> list[str]:
    """Why a guest could not be moved from its host now, whatever the destination: the findings of the checks."""
    facts = Facts(
        server_uuid=looked.found.uuid,
        vm_state=vm_state(looked.found).value,
        memory_mib=looked.found.memory_mib,
        requested_by="",
        block_migration="auto",
        source=HostFacts(host, error=looked.survey.chain_problem),
        destination=HostFacts("any host"),
        guest=looked.guest,
        guest_survey=looked.survey,
    )
    found = [finding for finding in evaluate_only(facts, GUEST_CHECKS) if finding.result is CheckResult.FAILED]
    return [finding.sentence for finding in found]


def vm_state(found: FoundGuest) -> VmState:
    if found.saved:
        return VmState.SUSPENDED
    return _VM_STATES.get(PowerState(found.power_state), VmState.STOPPED)


# --- rows -----------------------------------------------------------------------------------------------------------------


def _is_known(uuid: str) -> bool:
    try:
        with session.reader() as db:
            instances.get(db, uuid)
    except exceptions.InstanceNotFound:
        return False
    return True


def _named(db: orm.Session, named: str) -> models.Instance:
    """
    :raises InstanceNotFound: there is none.
    :raises Conflict: there are several of that name.
    """
    found = server_lists.named(db, named)
    if len(found) > 1:
        uuids = ", ".join(instance.uuid for instance in found)
        raise exceptions.Conflict(f"Several servers are named {named}: name the one you mean by its UUID ({uuids}).")
    return found[0] if found else instances.get(db, named)


def _insert(db: orm.Session, context: RequestContext, host: str, found: FoundGuest, owner: Owner) -> models.Instance:
    """The server's row; one of a server that had the same UUID and was deleted makes room."""
    instances.forget(db, found.uuid)
    disk_gib = -(-found.disk_bytes // GIB)
    instance = instances.create(
        db,
        uuid=found.uuid,
        project_id=owner.project_id,
        user_id=owner.user_id,
        display_name=found.name,
        description=f"adopted on {host}",
        hostname=found.name,
        host=host,
        node=compute_nodes.get_by_host(db, host).hypervisor_hostname,
        vm_state=vm_state(found).value,
        power_state=found.power_state,
        flavor={
            "flavorid": "adopted",
            "name": f"adopted.{found.memory_mib}m.{found.vcpus}c.{disk_gib}g",
            "memory_mib": found.memory_mib,
            "vcpus": found.vcpus,
            "root_gib": disk_gib,
            "extra_specs": {},
        },
        memory_mib=found.memory_mib,
        vcpus=found.vcpus,
        root_gib=disk_gib,
        availability_zone=ZONE,
        server_metadata={},
        tags=[],
        reservation_id="",
        launched_at=models.utcnow(),
        adopted={
            "domain": found.name,
            "interfaces": list(found.interfaces),
            "volumes": list(found.volumes),
            "addresses": [dataclasses.asdict(one) for one in found.addresses],
        },
    )
    request_id = context.request_id or ""
    actions.start(db, found.uuid, "adopt", request_id, owner.user_id, owner.project_id)
    actions.finish(db, found.uuid, request_id)
    return instance
