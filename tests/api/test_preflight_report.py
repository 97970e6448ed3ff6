"""The dry run through API and command, on hosts in memory: what it says, its exit code, and that it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from client import Answer, Product, wait_until

Boot = Callable[..., str]


def ask(product: Product, uuid: str, host: str | None = None, token: str | None = None) -> Answer:
    query = f"?host={host}" if host else ""
    return product.request("GET", f"/blockmigrate/v1/servers/{uuid}/preflight{query}", token=token)


def report(product: Product, *arguments: str) -> tuple[int, dict[str, Any]]:
    said = product.nova_blockmigrate("preflight", *arguments, "--json")
    assert said.code in (0, 1), said.everything
    return said.code, json.loads(said.out)


def test_a_healthy_pair_is_acceptable_and_nothing_changes(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    before = product.rows(uuid)

    code, found = report(product, uuid, "compute2")

    (host,) = found["hosts"]
    assert code == 0 and host["acceptable"] and host["rank"] == 1
    assert {one["result"] for one in host["findings"]} <= {"passed", "warning"}
    assert product.rows(uuid) == before
    assert product.control("where", uuid=uuid) == {"compute1": "running"}
    assert product.control("leftovers", uuid=uuid) == []


def test_the_estimate_is_of_what_the_guest_has_and_does(product: Product, boot: Boot) -> None:
    _, found = report(product, boot("compute1"), "compute2")
    estimate = found["hosts"][0]["estimate"]
    assert estimate["disk_bytes"] == 64 * 1024**2 and estimate["memory_bytes"] == 128 * 1024**2
    assert estimate["dirty_bytes_s"] == 4 * 1024**2 and estimate["seconds"] > 0
    assert estimate["sure"] in ("measured", "partly measured")


def test_without_host_all_are_ranked_and_the_others_say_why(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("fail", host="compute2", point="check_can_live_migrate_destination", reason="CPU lacks avx512")

    code, found = report(product, uuid)

    assert code == 0
    assert [(host["host"], host["rank"]) for host in found["hosts"]] == [("compute3", 1), ("compute2", None)]
    said = product.nova_blockmigrate("preflight", uuid)
    assert said.code == 0 and "compute3: acceptable" in said.out
    (line,) = [line for line in said.out.splitlines() if "compute2" in line]
    assert "CPU lacks avx512" in line


def test_a_host_that_is_not_acceptable_ends_with_1_and_says_what_to_do(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("resize", host="compute2", memory_mib=600)

    said = product.nova_blockmigrate("preflight", uuid, "compute2")

    assert said.code == 1
    assert "compute2: NOT acceptable" in said.out
    assert "FAILED" in said.out and "256 MiB" in said.out and "to do:" in said.out


def test_a_host_that_is_down_is_told_in_bounded_time(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("stop_compute", name="compute2")

    def down() -> bool:
        listed = product.request("GET", "/os-services?host=compute2&binary=nova-compute").body["services"]
        return bool(listed[0]["state"] == "down")

    wait_until(down, "compute2 counts as down")
    code, found = report(product, uuid, "compute2")
    results = {one["check"]: one["result"] for one in found["hosts"][0]["findings"]}
    assert code == 1 and results["destination_service"] == "failed" and results["memory"] == "unknown"


def test_server_is_found_by_name(product: Product, boot: Boot) -> None:
    name = product.server(boot("compute1"))["name"]
    said = product.nova_blockmigrate("preflight", name, "compute2")
    assert said.code == 0 and name in said.out, said.everything


def test_list_names_every_check_without_asking_anybody(product: Product) -> None:
    said = product.nova_blockmigrate("preflight", "--list", OS_ENDPOINT="http://127.0.0.1:1/v2.1")
    assert said.code == 0
    assert any(line.split()[:2] == ["memory", "destination"] for line in said.out.splitlines())


@pytest.mark.parametrize("server, variables", [("no-such-server", {}), ("vm", {"OS_ENDPOINT": "http://127.0.0.1:1/v2.1"})])
def test_what_cannot_be_asked_ends_with_2(product: Product, server: str, variables: dict[str, str]) -> None:
    said = product.nova_blockmigrate("preflight", server, **variables)
    assert said.code == 2 and said.err.startswith("nova-blockmigrate: ") and "Traceback" not in said.err


def test_wrong_usage_ends_with_2(product: Product) -> None:
    assert product.nova_blockmigrate("preflight").code == 2
    assert product.nova_blockmigrate("surprise").code == 2


def test_a_wrong_token_ends_with_2(product: Product) -> None:
    said = product.nova_blockmigrate("preflight", "vm", token="wrong")
    assert said.code == 2 and "401" in said.err


def test_the_path_is_for_administrators(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    for role in ("member", "reader"):
        assert ask(product, uuid, "compute2", token=product.tokens[role]).status == 403
    assert ask(product, uuid, "compute2").status == 200


# --- the checks that need no hypervisor, each made to fail ------------------------------------------------------------


def found_in(product: Product, uuid: str, host: str = "compute2", query: str = "") -> dict[str, dict[str, Any]]:
    """What did not pass, by the check's id."""
    answer = product.request("GET", f"/blockmigrate/v1/servers/{uuid}/preflight?host={host}{query}")
    assert answer.status == 200, answer
    (one,) = answer.body["preflight"]["hosts"]
    return {finding["check"]: finding for finding in one["findings"] if finding["result"] != "passed"}


def failed_in(found: dict[str, dict[str, Any]]) -> set[str]:
    return {check for check, finding in found.items() if finding["result"] == "failed"}


def test_a_healthy_pair_fails_none(product: Product, boot: Boot) -> None:
    assert failed_in(found_in(product, boot("compute1"))) == set()


def test_without_copying_disks_a_server_on_local_disks_may_not_move(product: Product, boot: Boot) -> None:
    found = found_in(product, boot("compute1"), query="&block_migration=false")
    assert failed_in(found) == {"parameters"} and "--block-migrate" in found["parameters"]["remedy"]


def test_an_unknown_host_is_told_in_the_report(product: Product, boot: Boot) -> None:
    found = found_in(product, boot("compute1"), "compute9")
    assert "destination_exists" in failed_in(found) and "compute9" in found["destination_exists"]["found"]


def test_the_servers_own_host_is_told_in_the_report(product: Product, boot: Boot) -> None:
    found = found_in(product, boot("compute1"), "compute1")
    assert "destination_is_not_source" in failed_in(found)


def test_a_disabled_destination_is_told(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    service = product.request("GET", "/os-services?host=compute2&binary=nova-compute").body["services"][0]["id"]
    product.request("PUT", f"/os-services/{service}", {"status": "disabled"})
    try:
        found = found_in(product, uuid)
    finally:
        product.request("PUT", f"/os-services/{service}", {"status": "enabled"})
    assert failed_in(found) == {"destination_service"} and "disabled" in found["destination_service"]["found"]


def test_a_source_that_does_not_report_is_told(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("stop_compute", name="compute1")

    def down() -> bool:
        listed = product.request("GET", "/os-services?host=compute1&binary=nova-compute").body["services"]
        return bool(listed[0]["state"] == "down")

    wait_until(down, "compute1 counts as down")
    found = found_in(product, uuid)
    assert failed_in(found) == {"source_service"} and found["guest_running"]["result"] == "unknown"


def test_a_stopped_guest_is_told(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.nova("stop", uuid)
    wait_until(lambda: product.server(uuid)["status"] == "SHUTOFF", "SHUTOFF")
    assert "guest_running" in failed_in(found_in(product, uuid))


def test_a_host_that_is_busy_with_another_migration_is_a_warning(product: Product, boot: Boot) -> None:
    moving, uuid = boot("compute1"), boot("compute1")
    product.control("hold", host="compute1", point="live_migration")
    product.migrate(moving, "compute2")
    product.wait_migration(moving, "running")
    found = found_in(product, uuid)
    product.control("release", host="compute1", point="live_migration")
    product.wait_migration(moving, "completed")
    assert found["queue"]["result"] == "warning" and "max_concurrent_live_migrations" in found["queue"]["found"]
