"""What the laboratory needs from outside: Debian's packages, and the virtual environment with the product in it."""

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from labkit.commands import output, run
from labkit.errors import LabError
from labkit.layout import CACHE, REPOSITORY, VENV
from labkit.locks import locked_folder

PACKAGES = (
    "libvirt-daemon-system",
    "libvirt-clients",
    "libvirt-dev",
    "pkg-config",
    "gcc",
    "libc6-dev",
    "qemu-system-x86",
    "qemu-utils",
    "qemu-block-extra",
    "ovmf",
    "iproute2",
    "iputils-ping",
    "nftables",
    "ebtables",
    "iptables",
    "tgt",
    "conntrack",
    "tini",
    "busybox-static",
    "syslinux",
    "syslinux-common",
    "mtools",
    "dosfstools",
    "fdisk",
    "eatmydata",
    "cpio",
    "kmod",
    "rabbitmq-server",
    "python3-venv",
    "python3-dev",
    "procps",
    "util-linux",
)
_POLICY = Path("/usr/sbin/policy-rc.d")
_INPUTS = ("constraints.txt", "requirements.txt", "test-requirements.txt", "setup.cfg", "setup.py", "pyproject.toml")
_OLDEST_PYTHON = (3, 11)


def missing_packages(further: Sequence[str] = ()) -> list[str]:
    wanted = (*PACKAGES, *further)
    asked = run(["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *wanted], check=False).stdout
    installed = {line.split()[0] for line in asked.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def ensure_packages(further: Sequence[str] = ()) -> list[str]:
    """Install what is missing, and what is wanted besides, without starting any service; returns what was installed."""
    missing = missing_packages(further)
    if missing:
        if os.geteuid() != 0:
            raise LabError(f"only root can install {' '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "-qq", "update"], env=environment)
        with _services_kept_down():
            run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", *missing], env=environment, timeout_s=1800)
    return missing


@contextlib.contextmanager
def _services_kept_down() -> Iterator[None]:
    """Packages installed meanwhile start no daemon, unless the administrator already has a policy for that."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def ensure_venv() -> bool:
    """The virtual environment has the product (editable) and what it needs; False when nothing had to be done."""
    python = find_python()
    wanted = _fingerprint(python)
    stamp = VENV / ".stamp"
    with locked_folder(CACHE / "venv"):
        if stamp.exists() and stamp.read_text() == wanted:
            return False
        if not (VENV / "bin/pip").exists() or not _same_python(python):
            shutil.rmtree(VENV, ignore_errors=True)
            run([python, "-m", "venv", str(VENV)])
        stamp.unlink(missing_ok=True)
        run(
            [str(VENV / "bin/pip"), "install", "-q", "--disable-pip-version-check", *_requirements()],
            cwd=str(REPOSITORY),
            timeout_s=1800,
        )
        stamp.write_text(wanted)
    return True


def _requirements() -> list[str]:
    """pip's arguments, from the files that the repository has."""
    options = {"constraints.txt": "-c", "requirements.txt": "-r", "test-requirements.txt": "-r"}
    files = [part for name, option in options.items() if (REPOSITORY / name).exists() for part in (option, name)]
    return [*files, "-e", "."]


def find_python() -> str:
    """The interpreter that runs us if it is new enough, else the distribution's."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        if Path(candidate).exists() and _version(candidate) >= _OLDEST_PYTHON:
            # Inside a virtual environment, the interpreter that this was made from.
            return output([candidate, "-c", "import sys; print(getattr(sys, '_base_executable', sys.executable))"])
    raise LabError(f"no Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer")


def _version(python: str) -> tuple[int, int]:
    major, minor = output([python, "-c", "import sys; print(*sys.version_info[:2])"]).split()
    return int(major), int(minor)


def _same_python(python: str) -> bool:
    return _version(python) == _version(str(VENV / "bin/python"))


def _fingerprint(python: str) -> str:
    digest = hashlib.sha256(f"{python} {_version(python)} {REPOSITORY}".encode())
    for name in _INPUTS:
        path = REPOSITORY / name
        digest.update(name.encode() + (path.read_bytes() if path.exists() else b"-"))
    return digest.hexdigest()
