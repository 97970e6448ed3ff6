"""Brings a laboratory of the tests' own up once for all of them, and takes it down (see `tools/lab`)."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """Two real hosts with all services (`labkit.lab.Lab`), in the folder that NBM_LAB names, else in a temporary one."""
    from labkit.lab import Lab
    from labkit.progress import Progress

    if os.geteuid() != 0:
        pytest.fail("the laboratory needs root: it makes namespaces and mounts")
    state = pathlib.Path(os.environ.get("NBM_LAB") or tempfile.mkdtemp(prefix="nbm-test-", dir="/var/tmp"))
    lab = Lab(state)
    try:
        lab.up(progress=Progress())
        yield lab
    finally:
        lab.down()
        shutil.rmtree(state, ignore_errors=True)
