"""What tools/test says of a run in which words choose the tests."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest

PROGRAM = pathlib.Path(__file__).parents[3] / "tools" / "test"
PASSED, FAILED, NONE_CHOSEN = 0, 1, 5


@pytest.fixture(scope="module")
def program() -> Any:
    loader = importlib.machinery.SourceFileLoader("program_test", str(PROGRAM))
    spec = importlib.util.spec_from_loader("program_test", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["program_test"] = module
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ends", "words", "expected"),
    [
        ((PASSED, PASSED), (), PASSED),
        ((PASSED, FAILED), (), FAILED),
        ((PASSED, NONE_CHOSEN), ("-k", "cinder"), PASSED),
        ((PASSED, NONE_CHOSEN), (), FAILED),
        ((NONE_CHOSEN, NONE_CHOSEN), ("-k", "cider"), FAILED),
        ((NONE_CHOSEN, FAILED), ("-k", "cinder"), FAILED),
    ],
)
def test_a_folder_may_have_none_of_the_tests_that_somebody_chose_but_not_all_of_them(
    program: Any, monkeypatch: pytest.MonkeyPatch, ends: tuple[int, ...], words: Sequence[str], expected: int
) -> None:
    left = list(ends)
    monkeypatch.setattr(program, "execute", lambda *_: left.pop(0))
    run = program.Run([], words)
    run.part("setting up", lambda: 0)
    for folder in ("tests/unit", "tests/lab")[: len(ends)]:
        run.pytest(folder, folder, "threading")
    assert run.finish() == expected
    assert left == []
