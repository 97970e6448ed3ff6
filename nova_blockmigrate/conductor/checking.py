"""Gathers the facts for the checks, from the database and from both hosts, and chooses the destination."""

from __future__ import annotations

import dataclasses
import time
import uuid as uuids
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import scheduler, server_groups
from nova_blockmigrate.conductor.preflight import Facts, HostFacts, Report, evaluate
from nova_blockmigrate.conductor.settings import Claim, candidates, claims_on, host_facts, promised_disk_gib, server_of
from nova_blockmigrate.conductor.volumes import ServerVolumes
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
from nova_blockmigrate.survey import GuestSurvey, HostSurvey, Reception, Route

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
    global_request_id: str | None = None


def question_of(migration: models.Migration) -> Question:
    return Question(
        server_uuid=migration.instance_uuid,
        source_host=migration.source_compute,
        requested_by=migration.user_id,
        block_migration=migration.block_migration,
        request_id=migration.request_id,
        uuid=migration.uuid,
        migration_id=migration.id,
        global_request_id=migration.global_request_id,
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
        global_request_id=question.global_request_id,
    )


def choose_destination(
    conf: cfg.ConfigOpts, computes: ComputeAPI, volumes: ServerVolumes, context: RequestContext, migration: models.Migration
) -> Chosen:
    """The named host, or the best that passes all checks.

    :raises NoDestination: none passes; its error tells all reasons.
    """
    question = question_of(migration)
    hosts = [migration.requested_host] if migration.requested_host else _ranked(conf, question, migration.attempts or {})
    refused: list[NoDestination] = []
    for host in hosts:
        try:
            return _check_host(conf, computes, volumes, context, question, host)
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
        instance = instances.get(db, question.server_uuid)
        memory_mib = instance.memory_mib
        hosts = candidates(conf, db, models.utcnow(), server_groups.of(db, instance, question.uuid))
    out = frozenset({question.source_host, *attempts})
    ranked = scheduler.rank(hosts, memory_mib, exclude=out)
    if not ranked:
        reasons = [f"{host} was tried: {reason}" for host, reason in attempts.items()]
        reasons.append(scheduler.why_none(hosts, memory_mib, exclude=out))
        raise NoDestination(exceptions.NoValidHost(reason=" ".join(reasons)), None)
    return ranked


def _check_host(
    conf: cfg.ConfigOpts, computes: ComputeAPI, volumes: ServerVolumes, context: RequestContext, question: Question, host: str
) -> Chosen:
    """All checks against one host."""
    facts = gather(conf, computes, volumes, context, question, host)
    report = evaluate(facts)
    error = report.error()
    if error is not None or facts.guest is None:
        raise NoDestination(
            error or exceptions.MigrationPreCheckError(reason="nothing is known of the guest"), report.to_primitive()
        )
    with session.reader() as db:
        return Chosen(compute_nodes.get_by_host(db, host), facts.guest, report)


def gather(
    conf: cfg.ConfigOpts, computes: ComputeAPI, volumes: ServerVolumes, context: RequestContext, question: Question, host: str
) -> Facts:
    """What the checks look at, from the database and both hosts. Changes nothing, and needs no migration.

    Both hosts are asked at the same time, twice: first for what they know by themselves, then for what needs the other's
    answer.
    """
    now = models.utcnow()
    with session.reader() as db:
        instance = instances.get(db, question.server_uuid)
        source = host_facts(conf, db, question.source_host, now)
        destination = host_facts(conf, db, host, now)
        claims = claims_on(db, host, but=question.uuid)
        destination = dataclasses.replace(destination, promised_disk_gib=promised_disk_gib(db, host, claims))
        group = server_groups.of(db, instance, question.uuid)
    hosts = _Hosts(computes, context, _plan(question, server_of(instance), host), source, destination)
    hosts.ask(claims, is_other=host != question.source_host)
    return Facts(
        server_uuid=instance.uuid,
        vm_state=instance.vm_state,
        memory_mib=instance.memory_mib,
        requested_by=question.requested_by,
        block_migration=question.block_migration,
        source=hosts.source,
        destination=hosts.destination,
        guest=hosts.guest,
        guest_survey=hosts.guest_survey,
        reception=hosts.reception,
        route=hosts.route,
        disk_gib=instance.root_gib,
        group=group.name if group else "",
        group_refusal=group.refusal(host) if group else "",
        slots=conf.max_concurrent_live_migrations,
        volumes=tuple(mapping.volume_id for mapping in instance.volumes),
        volume_problems=volumes.problems(instance),
    )


class _Hosts:
    """What both hosts say, as far as they answer."""

    def __init__(
        self, computes: ComputeAPI, context: RequestContext, plan: MigrationPlan, source: HostFacts, destination: HostFacts
    ) -> None:
        self._computes, self._context, self._plan = computes, context, plan
        self.source, self.destination = source, destination
        self.guest: GuestDescription | None = None
        self.guest_survey: GuestSurvey | None = None
        self.reception: Reception | None = None
        self.route: Route | None = None

    def ask(self, claims: list[Claim], is_other: bool) -> None:
        """`is_other`: the destination is not the source (else only that one is asked)."""
        if not is_other:
            self._ask_source()
            return
        _side_by_side(self._ask_source, lambda: self._ask_destination(claims))
        _side_by_side(self._ask_for_reception, self._ask_for_route)

    def _ask_source(self) -> None:
        answer = self._answer(self.source, "check_source", {})
        if isinstance(answer, str):
            self.source = dataclasses.replace(self.source, error=answer)
            return
        self.source = _with_survey(self.source, answer)
        self.guest = from_primitive(GuestDescription, answer["guest"]) if answer["guest"] else None
        self.guest_survey = from_primitive(GuestSurvey, answer["guest_survey"])

    def _ask_destination(self, claims: list[Claim]) -> None:
        answer = self._answer(self.destination, "check_host", {})
        if isinstance(answer, str):
            self.destination = dataclasses.replace(self.destination, error=answer)
            return
        unknown_there = [claim for claim in claims if claim.migration_uuid not in answer["known_migrations"]]
        self.destination = dataclasses.replace(
            _with_survey(self.destination, answer),
            claimed_memory_mib=answer["claimed_memory_mib"] + sum(claim.memory_mib for claim in unknown_there),
            claimed_disk_bytes=sum(claim.disk_bytes for claim in claims),
        )

    def _ask_for_reception(self) -> None:
        if self.guest is None or self.destination.error:
            return
        answer = self._answer(self.destination, "check_destination", {"guest": to_primitive(self.guest)})
        if isinstance(answer, str):
            self.destination = dataclasses.replace(self.destination, error=answer)
        else:
            self.reception = from_primitive(Reception, answer["reception"])

    def _ask_for_route(self) -> None:
        survey = self.destination.survey
        if survey is None or self.source.error:
            return
        # a job is known by the migration and its name, and a dry run tries many ways at a time: one name for each
        plan = dataclasses.replace(
            self._plan, migration_uuid=str(uuids.uuid5(uuids.UUID(self._plan.migration_uuid), self._plan.destination_host))
        )
        answer = self._answer(self.source, "check_route", {"address": survey.address, "port": survey.listening_port}, plan)
        if isinstance(answer, str):
            self.source = dataclasses.replace(self.source, error=answer)
        else:
            self.route = from_primitive(Route, answer["route"])

    def _answer(
        self, host: HostFacts, job: str, arguments: dict[str, Any], plan: MigrationPlan | None = None
    ) -> dict[str, Any] | str:
        """With the answer: what the conductor's clock showed in the middle of the call."""
        before = time.time()
        answer = _ask(self._computes, self._context, host, job, plan or self._plan, arguments)
        if not isinstance(answer, str):
            answer["asked_at_s"] = (before + time.time()) / 2
        return answer


def _with_survey(host: HostFacts, answer: dict[str, Any]) -> HostFacts:
    survey = from_primitive(HostSurvey, answer["survey"])
    return dataclasses.replace(
        host,
        resources=from_primitive(HostResources, answer["resources"]),
        survey=survey,
        clock_ahead_s=survey.time_s - answer["asked_at_s"],
    )


def _side_by_side(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Both at the same time; an error of either is raised once both are over."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            second()
        except Exception as error:  # noqa: BLE001 - the border between threads: raised below
            errors.append(error)

    other = concurrency.spawn("check", run)
    try:
        first()
    finally:
        other.join()
    if errors:
        raise errors[0]


def _ask(
    computes: ComputeAPI, context: RequestContext, host: HostFacts, job: str, plan: MigrationPlan, arguments: dict[str, Any]
) -> dict[str, Any] | str:
    """A host's answer, or in words why there is none. Who does not report is not asked: it would only take time."""
    if not host.service_up:
        return f"the compute service of {host.name} does not report"
    try:
        report = computes.run_migration_job(context, host.name, job, plan, arguments, CHECK_WAIT_S)
    except rpc.UNANSWERED as error:
        return f"the compute service of {host.name} did not answer: {error}"
    if report.state is StepState.DONE:
        answer: dict[str, Any] = report.result
        return answer
    return report.error or f"{host.name} did not finish {job} within {CHECK_WAIT_S:.0f} s"
