"""What is installed into the environment of a Nova: one module below Nova's package, and no other file of its."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PARTS = ("nova", "nova_blockmigrate", "etc", "setup.cfg", "setup.py", "pyproject.toml", "requirements.txt", "README.rst", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[pathlib.Path]:
    """The files that a wheel has, and their contents, as it is built from a bare copy of ours: building leaves some there."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in PARTS:
        path = ROOT / name
        _ = shutil.copytree(path, source / name) if path.is_dir() else shutil.copy(path, source / name)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", str(built)], cwd=source, check=True, capture_output=True
    )
    return [path.relative_to(built / "lib") for path in (built / "lib").rglob("*") if path.is_file()]


def test_one_module_below_nova_and_no_package(installed: list[pathlib.Path]) -> None:
    assert [str(path) for path in installed if path.parts[0] == "nova"] == ["nova/virt/blockmigrate.py"]


def test_the_driver_is_there(installed: list[pathlib.Path]) -> None:
    assert pathlib.Path("nova_blockmigrate/nova_driver/driver.py") in installed


def test_installing_and_uninstalling_leaves_nova_whole(installed: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    novas = {tmp_path / each: "# Nova's" for each in ("nova/__init__.py", "nova/virt/__init__.py", "nova/virt/driver.py")}
    for path, content in novas.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for path in installed:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("# ours")

    for path in installed:
        (tmp_path / path).unlink()

    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == novas
