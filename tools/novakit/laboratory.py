"""The laboratory with a real OpenStack, for tests and fault cases."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labkit.lab import Lab
from labkit.progress import Progress
from labkit.services import Options


@contextlib.contextmanager
def laboratory(driver: str = "ours") -> Iterator[Lab]:
    """In the folder that NBM_LAB names, else in a temporary one. One that is up already is used as it is, and stays up."""
    state = Path(os.environ.get("NBM_LAB") or tempfile.mkdtemp(prefix="nbm-test-", dir="/var/tmp"))
    lab = Lab(state)
    if lab.record is not None and lab.record.options.nova:
        yield lab
        return
    try:
        bring_up(lab, driver)
        yield lab
    finally:
        lab.down()
        shutil.rmtree(state, ignore_errors=True)


def bring_up(lab: Lab, driver: str = "ours") -> None:
    concurrency = os.environ.get("NBM_LAB_CONCURRENCY", "threading")
    options = Options(concurrency=concurrency, database="postgresql", keystone=True, neutron=True, glance=True, nova=driver)
    lab.up(options=options, progress=Progress())
