"""Which files domains of a host use, asked of libvirt's own test driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.virt.libvirt import in_use
from nova_blockmigrate.virt.libvirt.host import Host

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
DISK = "<disk type='file' device='disk'><driver type='qcow2'/><source file='{}'/><target dev='vda'/></disk>"
DOMAIN = "<domain type='test'><name>one</name><memory>1024</memory><os><type>hvm</type></os><devices>{}</devices></domain>"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """One without the domain that the driver has by default."""
    (tmp_path / "node.xml").write_text("<node/>")
    made = Host(f"test://{tmp_path}/node.xml", "here")
    yield made
    made.close()


def define(host: Host, disk: Path) -> str:
    return str(host.connection().defineXML(DOMAIN.format(DISK.format(disk))).UUIDString())


def test_all_layers_of_a_stopped_domains_disk_are_used_by_their_real_names(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    base, top = tmp_path / "link/base", tmp_path / "link/top"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", str(base), "1M"], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(top)], check=True)
    uuid = define(host, top)

    assert in_use.used_files(host) == {str(tmp_path / "real/base"), str(tmp_path / "real/top")}
    assert "one" in in_use.users_of(host, str(base), but="") and in_use.users_of(host, str(base), but=uuid) == ""


def test_a_domain_whose_disk_cannot_be_read_may_use_any_file(host: Host, tmp_path: Path) -> None:
    define(host, tmp_path / "gone")

    with pytest.raises(StorageError):
        in_use.used_files(host)
    assert "may use it" in in_use.users_of(host, str(tmp_path / "other"), but="")
