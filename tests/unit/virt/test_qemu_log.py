"""The end of a guest as libvirt has written it into the guest's log."""

import pytest

from nova_blockmigrate.virt.libvirt.qemu_log import was_migrated

START = "2026-01-02 03:04:05.678+0000: starting up libvirt version: 9.0.0, package: 1, qemu version: 7.2\nLC_ALL=C \\\n"
MOVED = "2026-01-02 03:05:05.678+0000: shutting down, reason=migrated\n"
NOISE = "2026-01-02T03:05:05.7Z qemu-system-x86_64: terminating on signal 15 from pid 12\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START + MOVED + NOISE, True),
        (START + MOVED + MOVED.replace("migrated", "unknown"), True),
        (START + NOISE, False),
        (START + MOVED + START, False),
        (START + MOVED.replace("migrated", "shutdown"), False),
        (START + NOISE * 2000 + MOVED, True),
        ("the guest wrote: shutting down, reason=migrated\n", False),
        ("", False),
    ],
)
def test_the_last_life_counts(tmp_path, text, expected):
    (tmp_path / "instance-1.log").write_text(text)
    assert was_migrated("instance-1", str(tmp_path)) is expected


def test_a_log_that_cannot_be_read_says_nothing(tmp_path):
    assert was_migrated("instance-1", str(tmp_path)) is False
