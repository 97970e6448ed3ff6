"""Which lists of flags are accepted, and what is said of those that are not."""

import libvirt
import pytest

from nova_blockmigrate.exceptions import ConfigurationError
from nova_blockmigrate.virt.libvirt import flags
from nova_blockmigrate.virt.libvirt.flags import Wishes

LIVE = ["VIR_MIGRATE_UNDEFINE_SOURCE", "VIR_MIGRATE_PEER2PEER", "VIR_MIGRATE_LIVE", "VIR_MIGRATE_PERSIST_DEST"]
BLOCK = [*LIVE, "VIR_MIGRATE_NON_SHARED_INC"]


def test_the_defaults_are_accepted() -> None:
    expected = libvirt.VIR_MIGRATE_UNDEFINE_SOURCE | libvirt.VIR_MIGRATE_PEER2PEER
    expected |= libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST
    assert flags.live_flags(LIVE, Wishes()) == expected
    assert flags.block_flags(BLOCK, Wishes()) == expected | libvirt.VIR_MIGRATE_NON_SHARED_INC


def test_post_copy_is_for_an_option_of_its_own_to_permit_and_needs_no_slowing_down() -> None:
    number = flags.block_flags(BLOCK, Wishes(auto_converge=True, post_copy=True))
    assert number & libvirt.VIR_MIGRATE_POSTCOPY and not number & libvirt.VIR_MIGRATE_AUTO_CONVERGE


def test_other_options_add_their_flags() -> None:
    number = flags.block_flags(BLOCK, Wishes(parallel_connections=2, native_tls=True, auto_converge=True))
    for flag in (libvirt.VIR_MIGRATE_PARALLEL, libvirt.VIR_MIGRATE_TLS, libvirt.VIR_MIGRATE_AUTO_CONVERGE):
        assert number & flag


@pytest.mark.parametrize(
    ("names", "wishes", "says"),
    [
        ([*BLOCK, "VIR_MIGRATE_FASTER"], Wishes(), "VIR_MIGRATE_FASTER is not a flag"),
        ([*BLOCK, "VIR_MIGRATE_PARAM_URI"], Wishes(), "VIR_MIGRATE_PARAM_URI is not a flag"),
        ([*BLOCK, "VIR_MIGRATE_TUNNELLED"], Wishes(), "cannot tunnel disks"),
        ([*BLOCK, "VIR_MIGRATE_NON_SHARED_DISK"], Wishes(), "VIR_MIGRATE_NON_SHARED_DISK and VIR_MIGRATE_NON_SHARED_INC"),
        ([*LIVE, "VIR_MIGRATE_NON_SHARED_DISK"], Wishes(), "base images"),
        (LIVE, Wishes(), "no disk is copied"),
        ([*BLOCK, "VIR_MIGRATE_POSTCOPY"], Wishes(), "live_migration_permit_post_copy"),
        ([*BLOCK, "VIR_MIGRATE_POSTCOPY_RESUME"], Wishes(post_copy=True), "VIR_MIGRATE_POSTCOPY_RESUME"),
        ([*BLOCK, "VIR_MIGRATE_OFFLINE"], Wishes(), "VIR_MIGRATE_OFFLINE"),
        ([*BLOCK, "VIR_MIGRATE_PARALLEL"], Wishes(), "live_migration_parallel_connections"),
        ([*BLOCK, "VIR_MIGRATE_COMPRESSED"], Wishes(parallel_connections=2), "VIR_MIGRATE_PARALLEL"),
        ([*BLOCK, "VIR_MIGRATE_ZEROCOPY"], Wishes(), "needs VIR_MIGRATE_PARALLEL"),
        ([name for name in BLOCK if "PEER2PEER" not in name], Wishes(), "VIR_MIGRATE_PEER2PEER is missing"),
        ([name for name in BLOCK if not name.endswith("LIVE")], Wishes(), "VIR_MIGRATE_LIVE is missing"),
    ],
)
def test_what_cannot_work_is_refused_with_the_option_and_the_flag(names: list[str], wishes: Wishes, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        flags.block_flags(names, wishes)
    assert says in raised.value.message
    assert "[libvirt] block_migration_flag" in raised.value.message
    assert "To do:" in raised.value.message


@pytest.mark.parametrize(
    ("names", "wishes", "says"),
    [
        (BLOCK, Wishes(), "block_migration_flag"),
        ([*LIVE, "VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES"], Wishes(), "copies disks"),
        ([*LIVE, "VIR_MIGRATE_TUNNELLED"], Wishes(native_tls=True), "VIR_MIGRATE_TLS"),
        ([*LIVE, "VIR_MIGRATE_TUNNELLED"], Wishes(post_copy=True), "VIR_MIGRATE_POSTCOPY"),
    ],
)
def test_flags_of_disks_and_tunnels_have_no_place_in_a_plain_live_migration(names: list[str], wishes: Wishes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        flags.live_flags(names, wishes)


@pytest.mark.parametrize(
    ("uri", "unprotected"),
    [
        ("qemu+tcp://%s/system", True),
        ("qemu+tls://%s/system", False),
        ("qemu+ssh://root@%s/system", False),
        ("qemu://%s/system", False),
    ],
)
def test_plain_tcp_is_known_as_unprotected(uri: str, unprotected: bool) -> None:
    assert flags.is_unprotected(uri) is unprotected


@pytest.mark.parametrize("uri", ["qemu+tcp://compute2/system", "qemu+tcp://%s/%s", "qemu:///system?%s"])
def test_a_uri_without_place_for_the_host_or_without_transport_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="live_migration_uri"):
        flags.check_uri(uri)
