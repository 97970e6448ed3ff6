"""The configuration files that the laboratory writes for our services."""

import configparser
import stat
from pathlib import Path

from labkit import services
from labkit.lab import Record
from labkit.layout import Layout


def read(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(default_section="")
    parser.read_string(text)
    return parser


def test_host_has_its_own_name_and_no_database():
    host = Layout(Path("/tmp/one")).hosts[1]
    written = read(services.configuration(host, "secret", services.Options()))
    assert written["DEFAULT"]["host"] == "compute2"
    assert written["DEFAULT"]["transport_url"] == "rabbit://nova-blockmigrate:secret@controller:5672/"
    assert written["libvirt"]["live_migration_uri"] == "qemu+tcp://%s/system"
    assert "database" not in written


def test_controller_has_the_database_that_was_asked_for():
    controller = Layout(Path("/tmp/one")).controller
    written = read(services.configuration(controller, "secret", services.Options(database="postgresql://x/y")))
    assert written["database"]["connection"] == "postgresql://x/y"


def test_credentials_are_read_back_as_written(tmp_path):
    layout = Layout(tmp_path)
    path = tmp_path / "openrc"
    path.write_text(services.credentials(services.credential_variables(layout, "t0k=en")))
    assert services.read_credentials(path) == services.credential_variables(layout, "t0k=en")


def test_record_of_the_laboratory_is_private_and_read_back(tmp_path):
    record = Record(hosts=3, options=services.Options(concurrency="threading"))
    record.save(tmp_path / "lab.json")
    assert Record.load(tmp_path / "lab.json") == record
    assert stat.S_IMODE((tmp_path / "lab.json").stat().st_mode) == 0o600


def test_keystone_and_neutron_are_named_where_they_are_used():
    layout, options = Layout(Path("/tmp/one")), services.Options(keystone=True, neutron=True)
    controller = read(services.configuration(layout.controller, "secret", options))
    host = read(services.configuration(layout.hosts[0], "secret", options))
    assert controller["api"]["auth_strategy"] == "keystone"
    assert controller["keystone_authtoken"]["username"] == host["neutron"]["username"] == "nova-blockmigrate"
    assert controller["DEFAULT"]["network_backend"] == host["DEFAULT"]["network_backend"] == "neutron"
    assert "keystone_authtoken" not in host
