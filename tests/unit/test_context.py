"""Which request the log lines of a thread name."""

from __future__ import annotations

import threading

from oslo_context import context as oslo_context

from nova_blockmigrate import concurrency
from nova_blockmigrate.context import logged_for, service_context


def named() -> tuple[str, str | None]:
    current = oslo_context.get_current()
    return (current.request_id, current.global_request_id) if current else ("", None)


def in_a_new_thread(function: object) -> None:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_one_interrupted_transfer_is_not_logged_as_another() -> None:
    found: list[tuple[str, str | None]] = []

    def resume() -> None:
        for request, known in (("req-1", "req-a"), ("req-2", "req-b")):
            with logged_for(service_context(request, known)):
                concurrency.spawn("job", lambda: found.append(named())).join()
        found.append(named())

    in_a_new_thread(resume)
    assert found == [("req-1", "req-a"), ("req-2", "req-b"), ("", None)]


def test_a_context_of_a_service_is_not_what_its_thread_logs_for_ever_after() -> None:
    found: list[object] = []

    def report() -> None:
        service_context("req-1")
        found.append(oslo_context.get_current())

    in_a_new_thread(report)
    assert found == [None]
