"""What is asked of the database, on a real one."""

from __future__ import annotations

import contextlib
import datetime
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from nova_blockmigrate import exceptions, objects
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import (
    actions,
    compute_nodes,
    instances,
    migrations,
    networks,
    rows,
    server_lists,
    server_tasks,
    services,
    slots,
)
from nova_blockmigrate.db.queries.slots import Route, turns

pytestmark = pytest.mark.usefixtures("database")
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
SECOND = datetime.timedelta(seconds=1)


def new_instance(**values: Any) -> models.Instance:
    defaults = dict(project_id="p", user_id="u", display_name="vm", hostname="vm", vm_state="active", host="a", node="a")
    numbers = dict(memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1")
    with session.writer() as db:
        return instances.create(db, **(defaults | numbers | values))


def new_migration(source: str = "a", destination: str | None = "b", status: str = "queued", **values: Any) -> int:
    defaults = dict(instance_uuid="i", source_compute=source, source_node=source, dest_compute=destination, status=status)
    with session.writer() as db:
        return migrations.create(db, **(defaults | dict(user_id="u", project_id="p", request_id="r") | values)).id


def new_host(name: str) -> None:
    resources = objects.HostResources(
        host=name, hypervisor_hostname=name, hypervisor_type="QEMU", hypervisor_version=7002000, libvirt_version=9000000,
        host_ip="192.0.2.1", vcpus=4, vcpus_used=0, memory_mib=4096, memory_used_mib=512, disk_gib=10, disk_used_gib=1,
        disk_free_bytes=2**33, running_vms=0, cpu_info="{}",
    )  # fmt: skip
    with session.writer() as db:
        services.report(db, name, "nova-compute", NOW)
        compute_nodes.report(db, resources)


def claim(id: int, limit: int = 1) -> bool:
    with session.writer() as db:
        return id in slots.claim(db, [id], None, limit).started


def test_task_state_is_swapped_once() -> None:
    uuid = new_instance().uuid
    with session.writer() as db:
        assert instances.swap_task_state(db, uuid, [None], "migrating", ["active", "paused"])
        assert not instances.swap_task_state(db, uuid, [None], "migrating", ["active", "paused"])
        assert instances.get(db, uuid).task_state == "migrating"
        assert not instances.swap_task_state(db, uuid, ["migrating"], None, ["stopped"])
        assert instances.swap_task_state(db, uuid, [None, "migrating"], None)


def test_of_many_that_swap_at_the_same_time_one_wins() -> None:
    uuid = new_instance().uuid
    wins: list[bool] = []

    def swap() -> None:
        with session.writer() as db:
            instances.get(db, uuid)
            wins.append(instances.swap_task_state(db, uuid, [None], "migrating"))

    threads = [threading.Thread(target=swap) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_failed_writer_leaves_nothing() -> None:
    uuid = new_instance().uuid
    with pytest.raises(ZeroDivisionError), session.writer() as db:
        instances.update(db, uuid, display_name="other")
        raise ZeroDivisionError
    with session.reader() as db:
        assert instances.get(db, uuid).display_name == "vm"


def test_rows_are_readable_after_their_session() -> None:
    instance = new_instance()
    with session.writer() as db:
        changed = instances.update(db, instance.uuid, progress=7)
        instances.swap_task_state(db, instance.uuid, [None], "migrating")
    assert (changed.progress, changed.task_state, changed.ports) == (7, "migrating", [])
    assert changed.updated_at is not None


def test_unknown_column_is_refused() -> None:
    uuid = new_instance().uuid
    with pytest.raises(AttributeError, match="no column 'colour'"), session.writer() as db:
        instances.update(db, uuid, colour="red")


def test_deleted_instance_is_not_found_but_kept() -> None:
    uuid = new_instance().uuid
    with session.writer() as db:
        instances.mark_deleted(db, uuid)
        assert instances.on_host(db, "a") == []
        assert instances.get(db, uuid, include_deleted=True).vm_state == "deleted"
        with pytest.raises(exceptions.InstanceNotFound):
            instances.get(db, uuid)


def test_lease_is_taken_renewed_and_lost() -> None:
    id = new_migration()
    with session.writer() as db:
        assert migrations.ids_without_owner(db, NOW) == [id]
        assert migrations.take_lease(db, id, "one", NOW, 15)
        assert migrations.ids_without_owner(db, NOW) == []
        assert not migrations.take_lease(db, id, "two", NOW + 14 * SECOND, 15)
        assert migrations.take_lease(db, id, "one", NOW + 14 * SECOND, 15)
        assert migrations.take_lease(db, id, "two", NOW + 30 * SECOND, 15)
        migrations.renew_leases(db, [id], "one", NOW + 31 * SECOND, 15)
        assert migrations.get_owned(db, id, "one") is None
        migrations.release_lease(db, id, "one")
        migrations.renew_leases(db, [id], "two", NOW + 31 * SECOND, 15)
        owned = migrations.get_owned(db, id, "two")
        assert owned is not None and owned.lease_expires_at == NOW + 46 * SECOND
        migrations.release_lease(db, id, "two")
        assert migrations.ids_without_owner(db, NOW) == [id]


def test_finished_migration_has_no_owner_to_be() -> None:
    id = new_migration(status="failed")
    with session.writer() as db:
        assert migrations.ids_without_owner(db, NOW) == []
        assert not migrations.take_lease(db, id, "one", NOW, 15)
        assert migrations.in_progress(db, "i") is None


def test_a_host_that_was_away_learns_what_ended_and_where_the_server_is_now() -> None:
    moved, deleted = new_instance(host="c").uuid, new_instance().uuid
    with session.writer() as db:
        instances.mark_deleted(db, deleted)
    ids = [
        new_migration(status="completed", instance_uuid=moved),
        new_migration(status="completed", instance_uuid=deleted),
        new_migration(status="failed"),
        new_migration(status="running"),
    ]
    with session.writer() as db:
        uuids = [migrations.get(db, id).uuid for id in ids]
        ended = migrations.ends(db, [*uuids, "lost"])
    assert [ended.get(uuid) for uuid in [*uuids, "lost"]] == [
        {"status": "completed", "host": "c"},
        {"status": "completed", "host": ""},
        {"status": "failed", "host": None},
        None,
        {"status": "error", "host": None},
    ]


def test_a_copy_may_be_let_run_only_where_its_migration_is_under_way_to() -> None:
    instance, deleted = new_instance().uuid, new_instance().uuid
    with session.writer() as db:
        instances.mark_deleted(db, deleted)
    running = new_migration(status="running", instance_uuid=instance)
    others = [
        new_migration(status="failed", instance_uuid=instance),
        new_migration(status="running", instance_uuid=instance, rolling_back=True),
        new_migration(status="running", instance_uuid=deleted),
        new_migration(status="running", instance_uuid=instance, destination="c"),  # it failed with b
    ]
    with session.reader() as db:
        assert migrations.is_under_way(db, migrations.get(db, running).uuid, "b")
        assert not any(migrations.is_under_way(db, migrations.get(db, id).uuid, "b") for id in others)
        assert not migrations.is_under_way(db, "lost", "b")


def test_slots_go_to_who_waits_longest() -> None:
    for host in "abc":
        new_host(host)
    first, second, elsewhere = new_migration(), new_migration(), new_migration("c", "a")
    assert not claim(second)
    assert claim(first) and claim(first)
    assert claim(elsewhere)
    assert not claim(second)
    with session.writer() as db:
        migrations.update(db, first, status="completed", holds_slot=False)
    assert claim(second)


def test_priority_goes_before_the_order_of_coming() -> None:
    for host in "ab":
        new_host(host)
    first, urgent = new_migration(), new_migration(priority=5)
    assert not claim(first)
    assert claim(urgent)
    assert not claim(first)


def test_a_servers_task_has_one_owner_until_the_lease_runs_out() -> None:
    uuid = new_instance().uuid
    soon, late = NOW + datetime.timedelta(seconds=5), NOW + datetime.timedelta(seconds=20)
    with session.writer() as db:
        server_tasks.put(db, uuid, "build", {}, "r1")
        assert server_tasks.without_owner(db, NOW) == [uuid]
        assert server_tasks.take_lease(db, uuid, "one", NOW, 10)
        assert not server_tasks.take_lease(db, uuid, "two", soon, 10)
        assert server_tasks.without_owner(db, soon) == []
        assert server_tasks.without_owner(db, late) == [uuid]
        assert server_tasks.take_lease(db, uuid, "two", late, 10)
        assert server_tasks.owners(db) == {"two"}
        server_tasks.release_leases(db, "two")
        assert server_tasks.without_owner(db, soon) == [uuid]


def test_a_task_that_was_replaced_is_not_ended_by_who_did_the_old_one() -> None:
    uuid = new_instance().uuid
    with session.writer() as db:
        server_tasks.put(db, uuid, "build", {}, "r1")
        server_tasks.put(db, uuid, "delete", {}, "r2")
        assert not server_tasks.end(db, uuid, "r1")
        found = server_tasks.find(db, uuid)
        assert found is not None and found.action == "delete"
        assert server_tasks.end(db, uuid, "r2")
        assert server_tasks.find(db, uuid) is None


def test_cancelled_one_in_the_queue_holds_nobody_up() -> None:
    new_migration(abort_requested=True)
    assert claim(new_migration())


@pytest.mark.parametrize(
    ("running", "before", "limit", "expected"),
    [
        ([], [], 1, True),
        ([Route("a", "c")], [], 1, False),
        ([Route("c", "b")], [], 1, False),
        ([Route("b", "a")], [], 1, True),
        ([], [Route("a", "c")], 1, False),
        ([], [Route("a", "c")], 2, True),
        # the older one cannot run itself, so it does not stand in the way
        ([Route("d", "c")], [Route("a", "c")], 1, True),
        # the second in the queue has to wait for the first, which leaves the place to us
        ([], [Route("d", "c"), Route("a", "c")], 1, True),
    ],
)
def test_who_may_start(running: list[Route], before: list[Route], limit: int, expected: bool) -> None:
    waiting = [*enumerate(before, start=1), (0, Route("a", "b"))]
    assert (0 in turns(running, waiting, limit)) is expected


def test_one_that_has_waited_long_for_two_hosts_is_passed_no_more() -> None:
    running, waiting = [Route("a", "c")], [(1, Route("a", "b")), (2, Route("d", "b"))]
    assert turns(running, waiting, 1) == [2]
    assert turns(running, waiting, 1, have_waited_long={1}) == []
    assert turns([], waiting, 1, have_waited_long={1}) == [1]


def test_only_the_first_that_waits_for_a_host_has_the_other_one_kept_for_it() -> None:
    waiting = [(1, Route("a", "e")), (2, Route("a", "b")), (3, Route("d", "b")), (4, Route("d", "e"))]
    assert turns([Route("a", "c")], waiting, 1, have_waited_long={1, 2}) == [3]


def test_a_stream_of_others_does_not_starve_one_that_needs_both_hosts() -> None:
    for host in "abcd":
        new_host(host)
    busy = new_migration("a", "c", holds_slot=True, status="running")
    first, other = new_migration("a", "b"), new_migration("d", "b")
    late = models.utcnow() + datetime.timedelta(seconds=slots.LONG_S + 1)
    with session.writer() as db:
        assert slots.claim(db, [first, other], None, 1, late).started == frozenset()
        migrations.update(db, busy, status="completed", holds_slot=False)
        assert slots.claim(db, [first, other], None, 1, late).started == {first}


def test_whoever_takes_a_migration_has_a_later_lease_than_all_before() -> None:
    id, soon, late = new_migration(), NOW + datetime.timedelta(seconds=5), NOW + datetime.timedelta(seconds=20)
    leases = []
    for owner, now in (("one", NOW), ("one", soon), ("two", late), ("one", late + datetime.timedelta(seconds=20))):
        with session.writer() as db:
            assert migrations.take_lease(db, id, owner, now, 10)
            leases.append(migrations.get(db, id).lease_epoch)
    with session.writer() as db:
        migrations.release_lease(db, id, "one")
        assert migrations.take_lease(db, id, "one", late, 10)
        leases.append(migrations.get(db, id).lease_epoch)
    assert leases == [1, 2, 3, 4, 5]


def test_action_tells_its_events() -> None:
    with session.writer() as db:
        actions.start(db, "i", "live-migration", "req-1", "u", "p", now=NOW)
        actions.start_event(db, "i", "req-1", "conductor_live_migrate_instance", "c1", now=NOW)
        actions.end_open_events(db, "i", "req-1", "Error", "no memory", now=NOW + SECOND)
        actions.finish(db, "i", "req-1", "x" * 300, now=NOW + SECOND)
    with session.reader() as db:
        action = actions.get_with_events(db, "i", "req-1")
    assert [(e.event, e.result, e.details, e.finish_time) for e in action.events] == [
        ("conductor_live_migrate_instance", "Error", "no memory", NOW + SECOND)
    ]
    assert action.message == "x" * 255 and action.finish_time == NOW + SECOND


def test_service_is_up_while_it_reports() -> None:
    with session.writer() as db:
        service = services.report(db, "a", "nova-compute", NOW)
        service = services.report(db, "a", "nova-compute", NOW + SECOND)
    assert service.report_count == 2
    assert services.is_up(service, NOW + 61 * SECOND, 60)
    assert not services.is_up(service, NOW + 62 * SECOND, 60)
    service.forced_down = True
    assert not services.is_up(service, NOW, 60)


def test_host_reports_twice_and_is_one_row() -> None:
    new_host("a")
    new_host("a")
    with session.reader() as db:
        assert [node.host for node in compute_nodes.all(db)] == ["a"]
        assert compute_nodes.get_by_host(db, "a").service.host == "a"
        with pytest.raises(exceptions.ComputeHostNotFound):
            compute_nodes.get_by_host(db, "nowhere")


def test_ports_get_the_lowest_free_address_and_a_mac_that_tells_it() -> None:
    instance = new_instance()
    with session.writer() as db:
        network = networks.create(db, "n", "br0", "10.1.2.0/29", "10.1.2.1")
        made = [networks.allocate_port(db, network.id, instance.id) for _ in range(5)]
        assert [port.ip_address for port in made] == [f"10.1.2.{last}" for last in range(2, 7)]
        assert made[0].mac_address == "fa:16:3e:01:02:02"
        with pytest.raises(exceptions.NoMoreAddresses):
            networks.allocate_port(db, network.id, instance.id)
        networks.release_ports(db, instance.id)
        assert networks.allocate_port(db, network.id, None).ip_address == "10.1.2.2"


@pytest.mark.parametrize("descending", [False, True])
def test_pages_show_each_row_once(descending: bool) -> None:
    for name, task_state in [("x", None), ("x", "migrating"), ("y", None), ("y", "pausing"), ("a", None)]:
        new_instance(display_name=name, task_state=task_state)
    sort = (("task_state", descending), ("display_name", not descending))
    with session.reader() as db:
        whole = rows.page(db, models.Instance, [], rows.Page(sort=sort), "uuid")
        seen: list[models.Instance] = []
        while part := rows.page(db, models.Instance, [], rows.Page(2, seen[-1].uuid if seen else None, sort), "uuid"):
            seen += part
        with pytest.raises(exceptions.MarkerNotFound):
            rows.page(db, models.Instance, [], rows.Page(marker="nobody"), "uuid")
    assert [row.id for row in seen] == [row.id for row in whole]
    assert len(seen) == 5 and (seen[0].task_state is None) is not descending


def test_names_that_differ_in_case_are_different_names() -> None:
    upper, lower = new_instance(display_name="VM"), new_instance(display_name="vm")
    with session.reader() as db:
        assert [row.uuid for row in server_lists.named(db, "VM")] == [upper.uuid]
        for expression, found in (("^v", lower), ("V", upper)):
            page = server_lists.search(db, server_lists.Filters(name=expression), rows.Page())
            assert [row.uuid for row in page] == [found.uuid]


def test_regular_expression_that_the_database_does_not_take_is_the_users_error() -> None:
    new_instance(display_name="vm")
    with session.reader() as db, contextlib.suppress(exceptions.ValidationError):
        page = server_lists.search(db, server_lists.Filters(name="(?P<first>v)m"), rows.Page())
        assert [row.display_name for row in page] == ["vm"]  # those that take it


def test_an_expression_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own would be at the first for years; PostgreSQL has no limit by itself for the second, nor MariaDB for the third."""
    monkeypatch.setattr(server_lists, "EXPRESSION_TIME_S", 1)
    for number in range(40):
        new_instance(display_name=f"{'a' * 200}{number}")
    for expression in ("^(a+)+$", r"^(a*)*\1(a*)*\2b$", "(.*)" * 20 + "b"):
        with session.reader() as db, contextlib.suppress(exceptions.ValidationError):
            assert server_lists.search(db, server_lists.Filters(name=expression), rows.Page()) == []


def test_what_a_user_asks_for_is_given_up_after_a_time() -> None:
    slow = {"postgresql": "SELECT pg_sleep(60)", "mysql": "SELECT SLEEP(60)"}
    with session.reader() as db:
        statement = slow.get(db.get_bind().dialect.name)
        if statement is None:
            pytest.skip("SQLite asks us for everything that takes long")
        with pytest.raises(Exception, match="statement"), session.limited(db, 1):
            db.execute(sa.text(statement))
    with session.reader() as db:
        assert db.scalar(sa.text("SELECT 1")) == 1


def addressed(name: str, *addresses: str, **values: Any) -> None:
    """A server whose ports are Neutron's, with these addresses; its interface's own are no matter."""
    fixed = [{"ip_address": address, "subnet_id": "s"} for address in addresses]
    ports = [{"fixed_ips": [], "vif": {"ip_address": "9.9.9.9"}}, {"fixed_ips": fixed}]
    new_instance(display_name=name, network_info=ports, **values)


@pytest.mark.parametrize(
    ("ip", "names"),
    [
        ("10.0.0.7", {"own", "neutron"}),
        ("^10.0.0.7$", {"own"}),
        ("^10[.]0[.]0[.]7", {"own", "neutron"}),
        ("fd00::", {"neutron"}),
        ("192.0.2", {"adopted"}),
        ("9.9.9.9", set()),
    ],
)
def test_servers_are_found_by_their_addresses_whoever_owns_their_ports(ip: str, names: set[str]) -> None:
    addressed("neutron", "10.0.0.77", "fd00::7")
    addressed("other", "10.0.1.1")
    new_instance(
        display_name="adopted", adopted={"domain": "d", "addresses": [{"network": "n", "address": "192.0.2.9", "mac": "m"}]}
    )
    new_instance(display_name="without", adopted={"domain": "e"})
    own = new_instance(display_name="own")
    with session.writer() as db:
        network = networks.create(db, "n", "br0", "10.0.0.0/28", "10.0.0.1")
        while networks.allocate_port(db, network.id, own.id).ip_address != "10.0.0.7":
            pass

    with session.reader() as db:
        found = server_lists.search(db, server_lists.Filters(ip=ip), rows.Page())
    assert {server.display_name for server in found} == names


def test_an_expression_for_addresses_that_the_database_does_not_understand_is_named() -> None:
    addressed("neutron", "10.0.0.77")
    with session.reader() as db, pytest.raises(exceptions.ValidationError, match=r"10\.\["):
        server_lists.search(db, server_lists.Filters(ip="10.["), rows.Page())
