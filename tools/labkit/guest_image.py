"""Builds the laboratory's guest image: Debian's kernel, a busybox start-up and our agent, as a small bootable qcow2.

The kernel comes from the distribution's package, unpacked and not installed, and is kept in the repository's cache together with
the finished image: a second build costs nothing.
"""

import contextlib
import gzip
import hashlib
import lzma
import os
import re
import shutil
import tempfile
from pathlib import Path

from labkit.commands import run
from labkit.errors import LabError
from labkit.layout import CACHE, REPOSITORY

SOURCES = REPOSITORY / "tools" / "guest"
# Loaded in this order, each after what it depends on; missing ones are built into that kernel.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "button", "evdev", "pvpanic_mmio")
# Enough to have room for records (see tools/guest/records.h) even when no flavor makes the disk bigger.
VIRTUAL_SIZE_MIB = 256
BOOT_OFFSET_SECTORS, BOOT_SECTORS = 2048, 65536
KERNEL_COMMAND_LINE = "initrd=initrd.gz console=ttyS0 quiet mitigations=off rdinit=/init no_timer_check"
_KERNEL_METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
_PARTITION_TABLE = f"label: dos\nstart={BOOT_OFFSET_SECTORS},size={BOOT_SECTORS},type=c,bootable\n"
# sfdisk and syslinux call sync(2) in the end, which waits for all disks of the machine: for ever when one of them has failed.
_WITHOUT_SYNC = ("eatmydata",)
_BOOT_MENU = f"DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n KERNEL vmlinuz\n APPEND {KERNEL_COMMAND_LINE}\n"


def ensure_image() -> Path:
    """The finished image in the cache, built when it is not there or when what it is made from changed."""
    kernel = ensure_kernel()
    image = CACHE / "guest" / f"guest-{_fingerprint(kernel)}.qcow2"
    if not image.exists():
        with tempfile.TemporaryDirectory(prefix="nbm-guest-") as work:
            built = _build(Path(work), kernel)
            for old in image.parent.glob("guest-*.qcow2"):
                old.unlink()
            _move_into_place(built, image)
    return image


def ensure_kernel() -> Path:
    """Folder with `vmlinuz`, the needed modules and their `order`, unpacked from the distribution's package."""
    for folder in sorted((CACHE / "guest").glob("kernel-*"), reverse=True):
        if (folder / "order").exists():
            return folder
    with tempfile.TemporaryDirectory(prefix="nbm-kernel-") as work:
        version = _unpack_kernel(Path(work))
        chosen = Path(work) / "chosen"
        chosen.mkdir()
        shutil.copy(Path(work) / f"root/boot/vmlinuz-{version}", chosen / "vmlinuz")
        order = [_copy_module(path, chosen) for path in _modules_in_order(Path(work) / f"root/lib/modules/{version}")]
        (chosen / "order").write_text("".join(f"{name}\n" for name in order))
        folder = CACHE / "guest" / f"kernel-{version}"
        unfinished = CACHE / "guest" / f".kernel-{os.getpid()}"
        shutil.copytree(chosen, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:  # another laboratory was faster
            shutil.rmtree(unfinished)
    return folder


def _fingerprint(kernel: Path) -> str:
    digest = hashlib.sha256(kernel.name.encode())
    for source in (*sorted(SOURCES.iterdir()), Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _move_into_place(built: Path, target: Path) -> None:
    """Atomically, though `built` may be on another filesystem: two laboratories may build at the same time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary, built.open("rb") as source:
        shutil.copyfileobj(source, temporary)
    Path(temporary.name).chmod(0o644)
    Path(temporary.name).replace(target)


# The kernel


def _dependency(package: str, pattern: str) -> str | None:
    found = re.search(rf"Depends: ({pattern})", run(["apt-cache", "depends", package], check=False).stdout)
    return found[1] if found else None


def _kernel_packages() -> list[str]:
    for metapackage in _KERNEL_METAPACKAGES:
        generic = _dependency(metapackage, r"linux-image-generic") or metapackage
        image = _dependency(generic, r"linux-image-\d\S+")
        if image:
            modules = _dependency(image, r"linux-modules-\d\S+")
            return [image, modules] if modules else [image]
    raise LabError(f"none of {', '.join(_KERNEL_METAPACKAGES)} is in the package lists: run `apt-get update`")


def _unpack_kernel(work: Path) -> str:
    """Unpack the current kernel below work/root; returns its version."""
    packages = _kernel_packages()
    run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=str(work))
    for package in work.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(work / "root")])
    version = re.sub(r"^linux-image-(unsigned-)?", "", packages[0])
    if not (work / "root/lib/modules").exists():
        (work / "root/lib").mkdir(exist_ok=True)
        (work / "root/lib/modules").symlink_to("../usr/lib/modules")
    run(["depmod", "-b", str(work / "root"), version])
    return version


def _modules_in_order(folder: Path) -> list[Path]:
    """The wanted modules with what they need, dependencies first, as depmod found them."""
    needs: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in MODULES:
        if name in by_name:
            # modules.dep lists the whole closure, what is to be loaded first last.
            order += [path for path in (*reversed(needs[by_name[name]]), by_name[name]) if path not in order]
    return [folder / path for path in order]


def _copy_module(path: Path, folder: Path) -> str:
    """Copy one module, uncompressed, as busybox cannot load compressed ones; returns its file name."""
    name = path.name.split(".ko")[0] + ".ko"
    if path.suffix == ".zst":
        run(["zstd", "-q", "-d", "-f", str(path), "-o", str(folder / name)])
    elif path.suffix == ".xz":
        (folder / name).write_bytes(lzma.decompress(path.read_bytes()))
    else:
        shutil.copy(path, folder / name)
    return name


# The image


def _build(work: Path, kernel: Path) -> Path:
    _compile_agent(work / "root" / "bin" / "agent")
    _pack_initramfs(work / "root", kernel, work / "initrd.gz")
    raw = work / "guest.raw"
    _make_boot_disk(raw, {"initrd.gz": work / "initrd.gz", "vmlinuz": kernel / "vmlinuz"}, work)
    run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(work / "guest.qcow2")])
    return work / "guest.qcow2"


def _compile_agent(target: Path) -> None:
    target.parent.mkdir(parents=True)
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-s", "-static", "-pthread", "-o", str(target), *sources])


def _pack_initramfs(root: Path, kernel: Path, target: Path) -> None:
    for folder in ("dev", "proc", "sys", "lib/modules"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    shutil.copy(SOURCES / "init", root / "init")
    (root / "init").chmod(0o755)
    for name in (kernel / "order").read_text().split():
        shutil.copy(kernel / name, root / "lib/modules" / name)
    shutil.copy(kernel / "order", root / "lib/modules/order")
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    archive = target.with_suffix(".cpio")
    run(["cpio", "--quiet", "-o", "-H", "newc", "-O", str(archive)], input=names, cwd=str(root))
    target.write_bytes(gzip.compress(archive.read_bytes(), 9, mtime=0))


def _make_boot_disk(raw: Path, files: dict[str, Path], work: Path) -> None:
    """A disk with one bootable FAT partition that holds syslinux and `files`."""
    with raw.open("wb") as disk:
        disk.truncate(VIRTUAL_SIZE_MIB * 1024 * 1024)
    offset = BOOT_OFFSET_SECTORS * 512
    run([*_WITHOUT_SYNC, "sfdisk", "-q", str(raw)], input=_PARTITION_TABLE)
    run(["mkfs.vfat", "--offset", str(BOOT_OFFSET_SECTORS), str(raw), str(BOOT_SECTORS // 2)])
    run([*_WITHOUT_SYNC, "syslinux", "--install", "--offset", str(offset), str(raw)])
    with raw.open("r+b") as disk:
        disk.write(_boot_sector())
    menu = work / "syslinux.cfg"
    menu.write_text(_BOOT_MENU)
    for name, source in {"syslinux.cfg": menu, **files}.items():
        run(["mcopy", "-i", f"{raw}@@{offset}", str(source), f"::{name}"], env={"MTOOLS_SKIP_CHECK": "1", "PATH": "/usr/bin:/bin"})


def _boot_sector() -> bytes:
    for path in ("/usr/lib/SYSLINUX/mbr.bin", "/usr/lib/syslinux/mbr/mbr.bin"):
        with contextlib.suppress(FileNotFoundError):
            return Path(path).read_bytes()[:440]
    raise LabError("syslinux' mbr.bin is not there: is syslinux-common installed?")
