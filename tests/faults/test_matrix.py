"""Something breaks while a guest moves: it goes on, on one host, and nothing is left behind (tools/faultkit)."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import pytest

LOGS = pathlib.Path(__file__).parents[2] / ".cache/faults"


@pytest.fixture
def ready(stage: Any, case: Any) -> Any:
    """The laboratory of the case: to build one takes minutes where others want the processors, and is no part of the test."""
    stage.use(case.database)
    return stage


@pytest.mark.timeout(900, func_only=True)
def test_holds(ready: Any, results: list[Any], case: Any) -> None:
    from faultkit import matrix, runner

    stage = ready
    result = runner.play(stage, case)
    results.append(result)
    matrix.keep(result)
    if not result.held:
        reasons = "\n".join(map(str, result.violations)) or result.trouble
        kept = keep_logs(stage, case.name, reasons)
        stage.spoil()
        pytest.fail(f"{reasons}\n(logs of the laboratory: {kept})", pytrace=False)


def keep_logs(stage: Any, name: str, reasons: str) -> pathlib.Path:
    """The laboratory goes; what its services said stays."""
    folder = LOGS / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stage.lab.layout.logs, folder)
    (folder / "verdict.txt").write_text(reasons + "\n")
    stage.keep_traces(folder)
    return folder
