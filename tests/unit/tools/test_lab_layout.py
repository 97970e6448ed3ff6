"""Names and addresses follow from the state folder."""

from pathlib import Path

import pytest

from labkit.errors import LabError
from labkit.layout import Layout, guest_address, guest_mac, state_folder


def test_two_folders_share_no_namespace():
    one, other = Layout(Path("/tmp/one")), Layout(Path("/tmp/other"))
    assert not {machine.namespace for machine in one.machines} & {machine.namespace for machine in other.machines}


def test_management_and_tenant_networks_differ():
    layout = Layout(Path("/tmp/one"))
    assert layout.management_prefix != layout.tenant_prefix


def test_hosts_have_uuids_of_their_own():
    layout = Layout(Path("/tmp/one"), hosts_count=5)
    assert len({machine.host_uuid for machine in layout.machines}) == 6


def test_argument_wins_over_environment():
    assert state_folder("/tmp/a", {"NBM_LAB": "/tmp/b"}) == Path("/tmp/a")
    assert state_folder(None, {"NBM_LAB": "/tmp/b"}) == Path("/tmp/b")


@pytest.mark.parametrize("folder", ["/run/lab", "/var/lib/nova/lab", "/etc/libvirt"])
def test_folder_that_the_machines_hide_is_refused(folder):
    with pytest.raises(LabError, match="cannot be below"):
        state_folder(folder, {})


def test_mac_and_address_of_the_guest_image_are_each_others_inverse():
    assert guest_mac("10.11.0.10") == "fa:16:3e:0b:00:0a"
    assert guest_address("fa:16:3e:0b:00:0a") == "10.11.0.10"


def test_unknown_machine_is_named_with_those_there_are():
    with pytest.raises(LabError, match="controller, compute1, compute2"):
        Layout(Path("/tmp/one")).machine("compute9")
