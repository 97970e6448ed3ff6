"""What a migration shows of the transfer that its source reports."""

from __future__ import annotations

from nova_blockmigrate.conductor import transferring
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MigrationStatus, TransferProgress, from_primitive, to_primitive


def test_a_transfer_that_goes_on_by_post_copy_has_novas_status_for_that() -> None:
    told = from_primitive(TransferProgress, to_primitive(TransferProgress(memory_total_bytes=1, post_copy=True)))
    assert transferring.status_of(told) == {"status": "running (post-copy)"}
    assert MigrationStatus("running (post-copy)") in IN_PROGRESS_STATUSES


def test_any_other_transfer_keeps_the_status_of_its_step() -> None:
    assert transferring.status_of(TransferProgress(memory_total_bytes=1)) == {}
    older = {name: value for name, value in to_primitive(TransferProgress()).items() if name != "post_copy"}
    assert not from_primitive(TransferProgress, older).post_copy
