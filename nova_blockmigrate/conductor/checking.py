"""Gathers the facts for the checks, from the database and from both hosts, and chooses the destination."""

from __future__ import annotations

import dataclasses
from typing import Any

import oslo_messaging
from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import scheduler
from nova_blockmigrate.conductor.preflight import Facts, HostFacts, Report, evaluate
from nova_blockmigrate.conductor.settings import candidates, host_facts, server_of
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import compute_nodes, instances
from nova_blockmigrate.objects import (
    GuestDescription,
    HostResources,
    MigrationPlan,
    Server,
    StepState,
    from_primitive,
    to_primitive,
)

CHECK_WAIT_S = 10.0


class NoDestination(Exception):
    """No host passed the checks."""

    def __init__(self, error: exceptions.BlockMigrateError, report: list[dict[str, Any]] | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.report = report


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A host that passed the checks, and what they found."""

    node: models.ComputeNode
    guest: GuestDescription
    report: Report


@dataclasses.dataclass(frozen=True)
class Question:
    """Whether a server may move: asked for a migration, or without one."""

    server_uuid: str
    source_host: str
    requested_by: str
    block_migration: str
    """As the request has it: true, false or auto."""
    request_id: str
    uuid: str
    """Names the hosts' jobs: the migration's, or one of its own."""
    migration_id: int = 0
    """0: there is no migration."""


def question_of(migration: models.Migration) -> Question:
    return Question(
        server_uuid=migration.instance_uuid,
        source_host=migration.source_compute,
        requested_by=migration.user_id,
        block_migration=migration.block_migration,
        request_id=migration.request_id,
        uuid=migration.uuid,
        migration_id=migration.id,
    )


def plan_of(migration: models.Migration, server: Server, destination: str) -> MigrationPlan:
    return _plan(question_of(migration), server, destination)


def _plan(question: Question, server: Server, destination: str) -> MigrationPlan:
    return MigrationPlan(
        migration_id=question.migration_id,
        migration_uuid=question.uuid,
        server=server,
        source_host=question.source_host,
        destination_host=destination,
        block_migration=question.block_migration != "false",
        request_id=question.request_id,
    )


def choose_destination(conf: cfg.ConfigOpts, computes: ComputeAPI, context: RequestContext, migration: models.Migration) -> Chosen:
    """The named host, or the best that passes all checks.

    :raises NoDestination: none passes; its error tells all reasons.
    """
    question = question_of(migration)
    hosts = [migration.requested_host] if migration.requested_host else _ranked(conf, question, migration.attempts or {})
    refused: list[NoDestination] = []
    for host in hosts:
        try:
            return _check_host(conf, computes, context, question, host)
        except NoDestination as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    reasons = " ".join(f"{host}: {error}" for host, error in zip(hosts, refused, strict=True))
    raise NoDestination(exceptions.NoValidHost(reason=reasons), refused[-1].report)


def _ranked(conf: cfg.ConfigOpts, question: Question, attempts: dict[str, str]) -> list[str]:
    """The hosts to try, best first; not those that were tried already.

    :raises NoDestination: none is left; its error tells why each that was tried failed.
    """
    with session.reader() as db:
        memory_mib = instances.get(db, question.server_uuid).memory_mib
        hosts = candidates(conf, db, models.utcnow())
    out = frozenset({question.source_host, *attempts})
    ranked = scheduler.rank(hosts, memory_mib, exclude=out)
    if not ranked:
        reasons = [f"{host} was tried: {reason}" for host, reason in attempts.items()]
        reasons.append(scheduler.why_none(hosts, memory_mib, exclude=out))
        raise NoDestination(exceptions.NoValidHost(reason=" ".join(reasons)), None)
    return ranked


def _check_host(conf: cfg.ConfigOpts, computes: ComputeAPI, context: RequestContext, question: Question, host: str) -> Chosen:
    """All checks against one host."""
    facts = gather(conf, computes, context, question, host)
    report = evaluate(facts)
    error = report.error()
    if error is not None or facts.guest is None:
        raise NoDestination(
            error or exceptions.MigrationPreCheckError(reason="nothing is known of the guest"), report.to_primitive()
        )
    with session.reader() as db:
        return Chosen(compute_nodes.get_by_host(db, host), facts.guest, report)


def gather(conf: cfg.ConfigOpts, computes: ComputeAPI, context: RequestContext, question: Question, host: str) -> Facts:
    """What the checks look at, from the database and both hosts. Changes nothing, and needs no migration."""
    now = models.utcnow()
    with session.reader() as db:
        instance = instances.get(db, question.server_uuid)
        source = host_facts(conf, db, question.source_host, now)
        destination = host_facts(conf, db, host, now)
    plan = _plan(question, server_of(instance), host)
    guest: GuestDescription | None = None
    answer = _ask(computes, context, source, "check_source", plan, {})
    if isinstance(answer, str):
        source = dataclasses.replace(source, error=answer)
    else:
        guest = from_primitive(GuestDescription, answer["guest"])
        source = dataclasses.replace(source, resources=from_primitive(HostResources, answer["resources"]))
    if guest is not None and host != question.source_host:
        destination = _ask_destination(computes, context, destination, plan, guest)
    return Facts(
        server_uuid=instance.uuid,
        vm_state=instance.vm_state,
        memory_mib=instance.memory_mib,
        requested_by=question.requested_by,
        block_migration=question.block_migration,
        source=source,
        destination=destination,
        guest=guest,
    )


def _ask_destination(
    computes: ComputeAPI, context: RequestContext, host: HostFacts, plan: MigrationPlan, guest: GuestDescription
) -> HostFacts:
    answer = _ask(computes, context, host, "check_destination", plan, {"guest": to_primitive(guest)})
    if isinstance(answer, str):
        return dataclasses.replace(host, error=answer)
    return dataclasses.replace(
        host,
        resources=from_primitive(HostResources, answer["resources"]),
        problems=tuple(answer["problems"]),
        claimed_memory_mib=answer["claimed_memory_mib"],
    )


def _ask(
    computes: ComputeAPI, context: RequestContext, host: HostFacts, job: str, plan: MigrationPlan, arguments: dict[str, Any]
) -> dict[str, Any] | str:
    """A host's answer, or in words why there is none. Who does not report is not asked: it would only take time."""
    if not host.service_up:
        return f"the compute service of {host.name} does not report"
    try:
        report = computes.run_migration_job(context, host.name, job, plan, arguments, CHECK_WAIT_S)
    except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure) as error:
        return f"the compute service of {host.name} did not answer: {error}"
    if report.state is StepState.DONE:
        answer: dict[str, Any] = report.result
        return answer
    return report.error or f"{host.name} did not finish {job} within {CHECK_WAIT_S:.0f} s"
