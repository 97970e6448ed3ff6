"""Small patterns on native threads: several things at once, and a call with a limit of time.

For code below `ComputeDriver`, where blocking calls run in native threads whatever the service runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nova_blockmigrate.concurrency import native

T = TypeVar("T")


class Task:
    """A function running in a native daemon thread of its own."""

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self._function = function
        self._done = native.threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        native.threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - the border between threads: `result` raises it
            self._error = error
        finally:
            self._done.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it is over, after waiting for at most `timeout_s` seconds."""
        return bool(self._done.wait(timeout_s))

    def result(self) -> Any:
        """What the function returned, or raises what it raised; waits for it."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


def call_within(limit_s: float, function: Callable[[], T]) -> T:
    """The result of `function`, unless it takes longer than `limit_s` seconds; then it goes on alone, unheard.

    :raises TimeoutError: no result in time.
    """
    task = Task("limited", function)
    if not task.wait(limit_s):
        raise TimeoutError(f"no answer within {limit_s:g} s")
    value: T = task.result()
    return value


def in_parallel(functions: list[Callable[[], T]]) -> list[T]:
    """Results of all, in order; the first error is raised once all are over."""
    if len(functions) <= 1:
        return [function() for function in functions]
    tasks = [Task("parallel", function) for function in functions[1:]]
    try:
        first = functions[0]()
    finally:
        for task in tasks:
            task.wait()
    return [first, *(task.result() for task in tasks)]
