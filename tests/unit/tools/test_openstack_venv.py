"""The virtual environment of OpenStack's services is made once, and what the laboratory adds to it as often as that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkit import openstack_venv


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done: "make" or what was installed. The sources and the environment are the test's own."""
    done: list[str] = []
    source, venv = tmp_path / "source", tmp_path / "openstack"
    (source / "labstack").mkdir(parents=True)
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml", "labstack/driver.py"):
        (source / name).touch()

    def run(argv: list[str], **options: Any) -> None:
        if argv[1:3] == ["-m", "venv"]:
            venv.mkdir()
            done.append("make")
        else:
            done.append("releases" if "-r" in argv else "labstack")

    monkeypatch.setattr(openstack_venv, "_SOURCE", source)
    monkeypatch.setattr(openstack_venv, "VENV", venv)
    monkeypatch.setattr(openstack_venv, "CACHE", tmp_path)
    monkeypatch.setattr(openstack_venv, "run", run)
    monkeypatch.setattr(openstack_venv, "output", lambda argv: "(3, 11)")
    monkeypatch.setattr(openstack_venv.packages, "find_python", lambda: "python3")
    return done


def test_it_is_made_once(ran: list[str]) -> None:
    assert (openstack_venv.ensure_venv(), openstack_venv.ensure_venv()) == (True, False)
    assert ran == ["make", "releases", "labstack"]


def test_what_is_the_laboratorys_own_changes_alone(ran: list[str]) -> None:
    openstack_venv.ensure_venv()
    (openstack_venv._SOURCE / "labstack/driver.py").write_text("changed")
    assert (openstack_venv.ensure_venv(), openstack_venv.ensure_venv()) == (True, False)
    assert ran[3:] == ["labstack"]


def test_other_releases_are_another_environment(ran: list[str]) -> None:
    openstack_venv.ensure_venv()
    (openstack_venv._SOURCE / "constraints.txt").write_text("neutron==29")
    assert openstack_venv.ensure_venv()
    assert ran[3:] == ["make", "releases", "labstack"]
