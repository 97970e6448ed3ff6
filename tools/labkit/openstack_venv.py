"""A virtual environment with OpenStack's own services, apart from the product's: their releases need other versions."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from labkit import packages
from labkit.commands import output, run
from labkit.layout import CACHE, REPOSITORY
from labkit.locks import locked_folder

VENV = CACHE / "openstack"
_SOURCE = REPOSITORY / "tools/openstack"
_RELEASES = ("requirements.txt", "constraints.txt")


def ensure_venv() -> bool:
    """Keystone, Neutron, Cinder and `labstack` are installed; False when nothing had to be done. The first ones take minutes, and
    stay when only ours has changed."""
    python = packages.find_python()
    releases = _fingerprint(python, [_SOURCE / name for name in _RELEASES])
    own = _fingerprint(python, [_SOURCE / "pyproject.toml", *sorted((_SOURCE / "labstack").glob("*.py"))])
    with locked_folder(CACHE / "openstack-lock"):
        if not _has(".stamp", releases):
            shutil.rmtree(VENV, ignore_errors=True)
            run([python, "-m", "venv", str(VENV)])
            _install("-c", str(_SOURCE / "constraints.txt"), "-r", str(_SOURCE / "requirements.txt"))
            (VENV / ".stamp").write_text(releases)
        if _has(".stamp-labstack", own):
            return False
        with tempfile.TemporaryDirectory() as folder:  # building leaves files beside the source
            copy = shutil.copytree(_SOURCE, Path(folder) / "labstack-source")
            _install("--no-deps", "--force-reinstall", str(copy))
        (VENV / ".stamp-labstack").write_text(own)
    return True


def _has(stamp: str, wanted: str) -> bool:
    path = VENV / stamp
    return path.exists() and path.read_text() == wanted


def program(name: str) -> str:
    return str(VENV / "bin" / name)


def serving(application: str, port: int) -> list[str]:
    """The command line that serves a WSGI application ("module:name") on all addresses."""
    return [program("python"), "-m", "labstack.serve", application, "0.0.0.0", str(port)]


def _install(*arguments: str) -> None:
    run([program("pip"), "install", "-q", "--disable-pip-version-check", *arguments], timeout_s=1800)


def _fingerprint(python: str, files: Iterable[Path]) -> str:
    version = output([python, "-c", "import sys; print(sys.version_info[:2])"])
    digest = hashlib.sha256(version.encode())
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
