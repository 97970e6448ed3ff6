"""A service that dies at any of its operations on files. Death is an exception, and no operation after it is done."""

from __future__ import annotations

import builtins
import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova_blockmigrate import processes


class Death(BaseException):
    """The process is gone."""


class Mortal:
    """Counts operations on files; dies at the one that is named, before it is done, half done or after it."""

    WATCHED = ("open", "write", "unlink", "rmdir", "mkdir", "replace", "rename", "truncate", "fsync")

    def __init__(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._dies_at, self._when, self._dead = str(tmp_path), 0, "", False
        self.operations: list[str] = []
        """Those of the last life, by name."""
        self._open: set[int] = set()
        for name in self.WATCHED:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(os, "close", self._close(os.close))
        monkeypatch.setattr(builtins, "open", self._watched("open", builtins.open))
        monkeypatch.setattr(processes, "run", self._watched("run", processes.run))

    @contextlib.contextmanager
    def life(self, dies_at: int = 0, when: str = "") -> Iterator[None]:
        self.operations, self._dies_at, self._when, self._dead = [], dies_at, when, False
        try:
            yield
        finally:
            self._dies_at, self._dead = 0, False

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            if name != "run" and not self._is_ours(arguments[0]):
                return real(*arguments, **options)
            if self._dead:
                raise Death
            self.operations.append(name)
            dies = len(self.operations) == self._dies_at
            if dies and self._when == "before":
                self._die()
            if dies and self._when == "half" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self._die()
            result = real(*arguments, **options)
            if name == "open" and isinstance(result, int):
                self._open.add(result)
            if dies:
                self._die()
            return result

        return operation

    def _close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            self._open.discard(descriptor)
            real(descriptor)

        return close

    def _die(self) -> None:
        self._dead = True
        raise Death

    def _is_ours(self, what: Any) -> bool:
        return what in self._open if isinstance(what, int) else str(what).startswith(self._root)


def every_death(mortal: Mortal, reset: Callable[[], None], before: Callable[[], None], work: Callable[[], None]) -> Iterator[str]:
    """Have `work` die at each of its operations, each time in a place that `reset` made anew; yields where, after each death."""
    reset()
    before()
    with mortal.life():
        work()
    operations = len(mortal.operations)
    assert operations > 5
    for number, name in enumerate(list(mortal.operations), start=1):
        for when in ("before", "half", "after") if name == "write" else ("before", "after"):
            reset()
            before()
            with contextlib.suppress(Death), mortal.life(number, when):
                work()
            yield f"{when} operation {number} of {operations}"
