"""Nova's flags, without those that the paused switch cannot have."""

from __future__ import annotations

import libvirt

from nova_blockmigrate.nova_driver import describing

BASE = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
BLOCK = BASE | libvirt.VIR_MIGRATE_NON_SHARED_INC


def test_post_copy_is_left_out() -> None:
    assert describing.flags(BLOCK | libvirt.VIR_MIGRATE_POSTCOPY, copies_disks=True) == BLOCK


def test_without_disks_to_copy_none_is_copied() -> None:
    assert describing.flags(BLOCK, copies_disks=False) == BASE
