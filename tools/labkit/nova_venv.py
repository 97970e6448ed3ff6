"""A virtual environment with an unmodified Nova and placement, and the product installed beside them as an administrator would."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from labkit import packages
from labkit.commands import output, run
from labkit.layout import CACHE, REPOSITORY
from labkit.locks import locked_folder

VENV = CACHE / "nova"
_SOURCE = REPOSITORY / "tools/openstack-nova"
_CONSTRAINTS, _TEST_REQUIREMENTS = _SOURCE / "constraints.txt", _SOURCE / "test-requirements.txt"
_PRODUCT = (
    "nova",
    "nova_blockmigrate",
    "etc",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "requirements.txt",
    "README.rst",
    "LICENSE",
)


def ensure_venv() -> bool:
    """Nova, placement and the product, as it is in the repository now; False when nothing had to be done."""
    python = packages.find_python()
    with locked_folder(CACHE / "nova-lock"):
        made = _step("environment", _fingerprint(python), lambda: _make(python))
        return _step("product", _product_fingerprint(), _install_product) or made


def ensure_tests() -> bool:
    """The same, and what Nova's own tests need beside."""
    made = ensure_venv()
    with locked_folder(CACHE / "nova-lock"):
        return _step("tests", _digest(_TEST_REQUIREMENTS, _CONSTRAINTS), _install_tests) or made


def _step(name: str, wanted: str, work: Callable[[], None]) -> bool:
    """Do `work` unless it was done for the same inputs."""
    stamp = VENV / f".{name}"
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    work()
    stamp.write_text(wanted)
    return True


def program(name: str) -> str:
    return str(VENV / "bin" / name)


def _make(python: str) -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    run([python, "-m", "venv", str(VENV)])
    _install("-c", str(_CONSTRAINTS), "-r", str(_SOURCE / "requirements.txt"), "-r", str(REPOSITORY / "requirements.txt"))


def _install_tests() -> None:
    _install("-c", str(_CONSTRAINTS), "-r", str(_TEST_REQUIREMENTS))


def _install_product() -> None:
    """As a package, not as a link: that is what puts its module below Nova's. Building leaves files beside the source."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _PRODUCT:
            source, target = REPOSITORY / name, Path(folder) / name
            _ = shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        _install("--no-deps", "--force-reinstall", folder)


def _install(*arguments: str) -> None:
    run([program("pip"), "install", "-q", "--disable-pip-version-check", *arguments], timeout_s=1800)


def _fingerprint(python: str) -> str:
    version = output([python, "-c", "import sys; print(sys.version_info[:2])"])
    return _digest(_SOURCE / "requirements.txt", _CONSTRAINTS, REPOSITORY / "requirements.txt", beginning=version)


def _digest(*paths: Path, beginning: str = "") -> str:
    digest = hashlib.sha256(beginning.encode())
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _product_fingerprint() -> str:
    digest = hashlib.sha256()
    for name in _PRODUCT:
        path = REPOSITORY / name
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(each).encode() + each.read_bytes())
    return digest.hexdigest()
