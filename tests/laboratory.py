"""What the folders of tests in the laboratory (`tools/lab`) share: bringing one up, limits of time, logs of what failed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))

HOSTS = ("compute1", "compute2")
LONGEST_LINE = 400


@contextlib.contextmanager
def laboratory(**services: bool) -> Iterator[Any]:
    """Two real hosts with all services and those named (`labkit.services.Options`), in the folder that NBM_LAB names, else in a
    temporary one; it is taken down afterwards."""
    from labkit.lab import Lab
    from labkit.progress import Progress
    from labkit.services import Options

    if os.geteuid() != 0:
        pytest.fail("the laboratory needs root: it makes namespaces and mounts")
    state = pathlib.Path(os.environ.get("NBM_LAB") or tempfile.mkdtemp(prefix="nbm-test-", dir="/var/tmp"))
    chosen = {"concurrency": os.environ["NBM_LAB_CONCURRENCY"]} if "NBM_LAB_CONCURRENCY" in os.environ else {}
    lab = Lab(state)
    try:
        lab.up(options=Options(**chosen, **services), progress=Progress())
        yield lab
    finally:
        lab.down()
        shutil.rmtree(state, ignore_errors=True)


def expect_nothing_left(lab: Any, servers: Iterable[Any], limit_s: float = 30) -> None:
    """Wait until nothing of deleted servers is left on any host.

    :raises labkit.errors.LabError: something is; the message names it.
    """
    from labkit import scenario
    from labkit.commands import wait_until

    for server in servers:
        for host in HOSTS:

            def clean(host: str = host, server: Any = server) -> bool:
                return not scenario.leftovers(lab, host, server)

            wait_until(clean, limit_s, f"nothing of {server.name} is left on {host}: {scenario.leftovers(lab, host, server)}")


def limit_time(items: Iterable[pytest.Item], folder: pathlib.Path, seconds: float) -> None:
    """What a test does is limited in time; bringing everything up, which the first one does, takes as long as it takes."""
    for item in items:
        if item.path.parent == folder:
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))


def show_logs(item: pytest.Item, report: Any, patterns: Iterable[str], last_lines: int) -> None:
    """Add the last lines of the services' logs to the report of a test that failed: the laboratory goes with them."""
    lab = getattr(item, "funcargs", {}).get("lab")
    if not report.failed or lab is None or not lab.layout.logs.is_dir():
        return
    for log in sorted(log for pattern in patterns for log in lab.layout.logs.glob(pattern)):
        lines = [line for line in log.read_text(errors="replace").splitlines() if " DEBUG " not in line][-last_lines:]
        report.sections.append((f"last lines of {log.name}", "\n".join(line[:LONGEST_LINE] for line in lines)))
