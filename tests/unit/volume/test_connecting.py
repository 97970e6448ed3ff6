"""A host's name towards storage, and where a volume is."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.objects import VolumeConnection
from nova_blockmigrate.volume import connecting


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    return conf


def test_the_initiators_name_is_the_options_else_the_files_else_the_hosts(conf: cfg.ConfigOpts, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "initiatorname.iscsi"
    assert connecting.initiator_name(conf, "compute1", file) == "iqn.2008-11.org.linux-kvm:compute1"
    file.write_text("## comment\nInitiatorName=iqn.1993-08.org.debian:01:abc\n")
    assert connecting.initiator_name(conf, "compute1", file) == "iqn.1993-08.org.debian:01:abc"
    conf.set_override("initiator_name", "iqn.mine", group="volume")
    assert connecting.initiator_name(conf, "compute1", file) == "iqn.mine"


def test_whoever_logs_in_says_under_which_name_the_host_comes(conf: cfg.ConfigOpts) -> None:
    said = {"initiator": "iqn.kernel", "nqn": "nqn.x"}
    conf.set_override("initiator_name", "iqn.mine", group="volume")
    assert connecting.connector(conf, "compute1", said).initiator == "iqn.mine"
    conf.set_override("iscsi_connector", "os-brick", group="volume")
    assert connecting.connector(conf, "compute1", said).initiator == "iqn.kernel"
    assert connecting.connector(conf, "compute1", {}).initiator == "iqn.mine"
    assert connecting.connector(conf, "compute1", said).properties == said


def test_only_iscsi_is_qemus_and_only_when_it_shall_be(conf: cfg.ConfigOpts) -> None:
    assert [connecting.is_opened_by_qemu(conf, protocol) for protocol in ("iscsi", "nfs", "local", "")] == [True] + 3 * [False]
    conf.set_override("iscsi_connector", "os-brick", group="volume")
    assert not connecting.is_opened_by_qemu(conf, "iscsi")


@pytest.mark.parametrize(
    "portal, expected",
    [("10.0.0.1:3260", ("10.0.0.1", 3260)), ("[2001:db8::1]:3261", ("2001:db8::1", 3261)), ("", None), (None, None)],
)
def test_a_portal_is_an_address_and_a_port(portal: str | None, expected: tuple[str, int] | None) -> None:
    connection = VolumeConnection("v", "a", "compute1", "vdb", "iscsi", {"target_portal": portal})
    assert connecting.portal(connection) == expected


def test_a_password_is_not_printed() -> None:
    connection = VolumeConnection("v", "a", "compute1", "vdb", "iscsi", {"auth_password": "secret"})
    assert "secret" not in repr(connection)
