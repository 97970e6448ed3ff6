"""nova-blockmigrate-manage, as an administrator uses it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from nova_blockmigrate import rpc
from nova_blockmigrate.cmd import manage
from nova_blockmigrate.db import schema, session
from nova_blockmigrate.db.queries import migrations

Manage = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Manage]:
    config = tmp_path / "nbm.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}/state\ntransport_url = fake://\n[api]\ntoken_file = {tmp_path}/tokens.json\n"
        f"[image]\nlocal_directory = {tmp_path}/images\n"
    )

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = manage.main(["--config-file", str(config), *words])
        output = capsys.readouterr()
        return code, output.out.strip(), output.err.strip()

    assert call("db", "sync")[0] == 0
    yield call
    session.dispose()
    rpc.cleanup()


def test_database_tells_its_version(run: Manage) -> None:
    assert run("db", "version") == (0, schema.newest(), "")


def test_missing_schema_is_said_with_the_remedy(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c"
    config.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n")
    assert manage.main(["--config-file", str(config), "flavor", "list"]) == 1
    assert "db sync" in capsys.readouterr().err
    session.dispose()


def test_token_is_printed_once_and_kept_as_hash(run: Manage, tmp_path: pathlib.Path) -> None:
    code, token, _ = run("token", "create", "--user", "u", "--project", "p", "--role", "admin", "--role", "reader", "--name", "n")
    file = tmp_path / "tokens.json"
    assert code == 0 and len(token) > 30 and token not in file.read_text()
    assert os.stat(file).st_mode & 0o777 == 0o600
    listed = json.loads(run("token", "list", "--json")[1])
    assert [(each["user"], each["roles"], each["name"]) for each in listed] == [("u", ["admin", "reader"], "n")]
    assert run("token", "delete", listed[0]["id"])[0] == 0
    assert run("token", "list", "--json")[1] == "[]"
    code, _, error = run("token", "delete", "n")
    assert code == 1 and "no token n" in error


def test_flavors(run: Manage) -> None:
    assert run("flavor", "create", "--name", "f", "--memory-mib", "64", "--vcpus", "1", "--root-gib", "1", "--id", "7") == (
        0,
        "7",
        "",
    )
    code, _, error = run("flavor", "create", "--name", "f", "--memory-mib", "64", "--vcpus", "1", "--root-gib", "1")
    assert code == 1 and "exists already" in error
    assert "7   f" in run("flavor", "list")[1]
    assert run("flavor", "delete", "f")[0] == 0
    assert run("flavor", "delete", "f")[0] == 1


def test_networks(run: Manage) -> None:
    code, id, _ = run("network", "create", "--name", "n", "--bridge", "br0", "--cidr", "10.0.0.0/24", "--gateway", "10.0.0.254")
    assert code == 0
    assert json.loads(run("network", "list", "--json")[1])[0] == {
        "id": id, "name": "n", "bridge": "br0", "cidr": "10.0.0.0/24", "gateway": "10.0.0.254", "mtu": 1500,
        "segment_kind": "flat", "segment_id": 0, "physical_network": "", "port_security": True, "vif_type": "bridge",
    }  # fmt: skip
    assert run("network", "create", "--name", "m", "--bridge", "b", "--cidr", "10.0.0.0/24", "--gateway", "10.1.0.1")[0] == 1
    assert run("network", "create", "--name", "m", "--bridge", "b", "--cidr", "10.0.0.1/24")[0] == 1
    assert run("network", "delete", "n")[0] == 0


def test_networks_of_segments_have_a_bridge_and_room_for_their_headers(run: Manage) -> None:
    vlan = ("--name", "v", "--cidr", "10.1.0.0/24", "--vlan", "100", "--physical-network", "physnet1", "--no-port-security")
    assert run("network", "create", *vlan)[0] == 0
    assert run("network", "create", "--name", "x", "--cidr", "10.2.0.0/24", "--vxlan", "5000")[0] == 0
    first, second = json.loads(run("network", "list", "--json")[1])
    assert (first["bridge"], first["segment_id"], first["mtu"], first["port_security"]) == ("brv100", 100, 1500, False)
    assert (second["bridge"], second["segment_kind"], second["mtu"]) == ("brx5000", "vxlan", 1450)


def test_networks_may_be_on_a_bridge_of_open_vswitch(run: Manage) -> None:
    assert run("network", "create", "--name", "o", "--cidr", "10.2.0.0/24", "--bridge", "br-int", "--vif-type", "ovs")[0] == 0
    (shown,) = json.loads(run("network", "list", "--json")[1])
    assert (shown["bridge"], shown["vif_type"]) == ("br-int", "ovs")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--vlan", "4095", "--physical-network", "p"), "1 to 4094"),
        (("--vlan", "100"), "physical-network"),
        (("--vxlan", "0"), "1 to"),
        (("--vif-type", "ovs", "--bridge", "br-int", "--vxlan", "5000"), "leave out"),
        (("--vif-type", "ovs"), "--bridge"),
        ((), "--bridge"),
    ],
)
def test_networks_that_cannot_be_are_refused(run: Manage, words: tuple[str, ...], why: str) -> None:
    code, _, error = run("network", "create", "--name", "n", "--cidr", "10.1.0.0/24", *words)
    assert code == 1 and why in error


def test_security_groups_and_their_rules(run: Manage) -> None:
    assert run("security-group", "create", "--project", "p", "--name", "web")[0] == 0
    rule = ("--protocol", "tcp", "--port", "80:81", "--remote-cidr", "10.0.0.0/8")
    code, rule_id, _ = run("security-group-rule", "create", "--project", "p", "web", *rule)
    assert code == 0
    listed = json.loads(run("security-group-rule", "list", "--project", "p", "web", "--json")[1])
    shown = next(one for one in listed if one["id"] == rule_id)
    assert (shown["direction"], shown["port_min"], shown["port_max"], shown["remote_cidr"]) == ("ingress", 80, 81, "10.0.0.0/8")
    assert run("security-group-rule", "delete", rule_id)[0] == 0
    assert run("security-group", "delete", "--project", "p", "web")[0] == 0
    assert run("security-group", "list", "--json")[1] == "[]"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--protocol", "tcp", "--port", "70000"), "65535"),
        (("--protocol", "tcp", "--port", "9:8"), "below the first"),
        (("--port", "80"), "--port goes with"),
        (("--protocol", "smtp"), "use tcp"),
        (("--remote-cidr", "10.0.0.0/33"), "no range"),
        (("--ethertype", "IPv6", "--remote-cidr", "10.0.0.0/8"), "no range of IPv6"),
        (("--remote-group", "nobody"), "not found"),
    ],
)
def test_rules_that_make_no_sense_are_refused(run: Manage, words: tuple[str, ...], why: str) -> None:
    code, _, error = run("security-group-rule", "create", "--project", "p", "default", *words)
    assert code == 1 and why in error.replace("is not a range", "no range")


def test_a_volume_is_made_for_a_project_and_given_to_another(run: Manage, tmp_path: pathlib.Path) -> None:
    with (tmp_path / "nbm.conf").open("a") as config:
        config.write(f"[embedded_volume]\ndirectory = {tmp_path}/volumes\n")
    for words in (("--name", "mine", "--project", "demo"), ("--name", "nobodys")):
        assert run("volume", "create", "--size-gib", "1", *words)[0] == 0
    assert run("volume", "set", "--project", "other", "mine")[0] == 0
    listed = {one["name"]: one["project_id"] for one in json.loads(run("volume", "list", "--json")[1])}
    assert listed == {"mine": "other", "nobodys": ""}
    assert run("volume", "set", "--project", "other", "none")[0] == 1


def test_host_preflight_names_what_is_wrong_and_ends_with_1(run: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    from nova_blockmigrate.cmd.hostcheck import layouts, probing
    from nova_blockmigrate.cmd.hostcheck.judging import HostFacts

    facts = HostFacts("compute1", layouts.DEBIAN, layouts.LIBVIRTD, "tcp", 16509, libvirt_error="no socket")
    monkeypatch.setattr(probing, "probe", lambda conf, peer: facts)
    code, text, _ = run("host", "preflight")
    assert code == 1 and "FAILED" in text and "to do:" in text and "libvirtd-tcp.socket" in text
    assert {one["check"] for one in json.loads(run("host", "preflight", "--json")[1])} >= {"listening", "clock"}


def test_image_is_copied_whole_under_its_id(run: Manage, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "disk"
    content = b"boot" + bytes(5 * 2**20) + b"end" + bytes(3 * 2**20)
    source.write_bytes(content)
    code, id, _ = run("image", "create", "--name", "i", "--disk-format", "raw", "--file", str(source))
    copy = tmp_path / "images" / id
    assert code == 0 and copy.read_bytes() == content
    assert json.loads(run("image", "list", "--json")[1])[0]["sha256"] == hashlib.sha256(content).hexdigest()
    code, _, error = run("image", "create", "--name", "i", "--disk-format", "raw", "--file", str(source))
    assert code == 1 and "exists already" in error
    assert run("image", "create", "--name", "q", "--disk-format", "qcow2", "--file", str(source))[0] == 1
    assert run("image", "create", "--name", "q", "--disk-format", "raw", "--file", str(tmp_path / "none"))[0] == 1
    assert os.listdir(tmp_path / "images") == [id]
    assert run("image", "delete", "i")[0] == 0
    assert os.listdir(tmp_path / "images") == []


def test_a_waiting_migration_can_be_given_priority(run: Manage) -> None:
    with session.writer() as db:
        waiting, moving = (
            migrations.create(
                db,
                instance_uuid=f"server-{status}",
                status=status,
                source_compute="a",
                source_node="a",
                user_id="u",
                project_id="p",
                request_id="req-1",
            ).id
            for status in ("queued", "running")
        )
    assert run("migration", "prioritize", str(waiting), "5")[0] == 0
    code, _, error = run("migration", "prioritize", str(moving), "5")
    assert code == 1 and "running" in error
    listed = {each["id"]: each["priority"] for each in json.loads(run("migration", "list", "--json")[1])}
    assert listed == {waiting: 5, moving: 0}
