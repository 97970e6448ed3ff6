"""The only module that knows whether the process runs on eventlet or on native threads.

Services call `setup` before anything else is imported. Code above the virt layer uses ordinary `threading` (green on
eventlet) and comes here for what blocks: `run_native` runs a function in a native thread of its own while the caller,
green or not, waits without blocking others. Everything below `ComputeDriver` runs in such native threads, uses the
primitives of `native` and never those of the patched standard library: a green lock must not cross threads.
"""

from __future__ import annotations

import collections
import functools
import os
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

EVENTLET = "eventlet"
THREADING = "threading"
MODES = (EVENTLET, THREADING)
ENVIRONMENT_VARIABLE = "NOVA_BLOCKMIGRATE_CONCURRENCY"

_mode = THREADING
_green_thread: int | None = None
"""The operating system thread in which green threads run."""


def setup(mode: str) -> None:
    """Make this process run on `mode`. Call first thing in an entry point, once.

    :raises ValueError: `mode` is not one of MODES.
    """
    global _mode, _green_thread
    if mode not in MODES:
        raise ValueError(f"concurrency is {mode!r}: use one of {', '.join(MODES)}")
    _mode = mode
    from oslo_service import backend

    if mode == EVENTLET:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated is for us to know, not for each start of a service to say
            import eventlet

        _green_thread = native.threading.get_ident()
        # os and subprocess stay native: processes are only ever awaited in native threads
        eventlet.monkey_patch(os=False, subprocess=False)
        backend.init_backend(backend.BackendType.EVENTLET)
    else:
        backend.init_backend(backend.BackendType.THREADING)


def follow(patched: bool) -> None:
    """Live in a process that somebody else has set up, on eventlet (`patched`) or on native threads. Call in its main thread."""
    global _mode, _green_thread
    _mode = EVENTLET if patched else THREADING
    _green_thread = native.threading.get_ident() if patched else None


def chosen_mode(argv: list[str]) -> str:
    """The mode that the environment or the configuration files name; read before anything else is imported.

    Only this one option is looked at; the service parses its configuration in full later, and checks it.
    """
    if ENVIRONMENT_VARIABLE in os.environ:
        return os.environ[ENVIRONMENT_VARIABLE]
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("concurrency", default=EVENTLET))
    files = [
        value
        for index, word in enumerate(argv)
        for value in ([argv[index + 1]] if word == "--config-file" and index + 1 < len(argv) else [])
    ]
    files += [word.split("=", 1)[1] for word in argv if word.startswith("--config-file=")]
    conf(args=[], project="nova-blockmigrate", default_config_files=files or None)
    mode: str = conf.concurrency
    return mode


def mode() -> str:
    return _mode


def executor() -> str:
    """oslo.messaging's name for the executor of this mode."""
    return _mode


def original(name: str) -> types.ModuleType:
    """The unpatched module `name` of the standard library."""
    if _mode == EVENTLET:
        import eventlet.patcher

        module: types.ModuleType = eventlet.patcher.original(name)
        return module
    __import__(name)
    return sys.modules[name]


class _Native:
    """Primitives that always mean operating system threads."""

    @property
    def threading(self) -> Any:
        return original("threading")

    @property
    def queue(self) -> Any:
        return original("queue")

    @property
    def time(self) -> Any:
        return original("time")


native = _Native()


class _Outcome(Generic[T]):
    """What a function came to, kept by one thread for another."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._value: T | None = None
        self._error: BaseException | None = None

    def settle(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - the border between threads: `get` raises it
            self._error = error

    def get(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class NativeCall:
    """One blocking function in a native thread of its own, which may call back into the caller's thread."""

    def __init__(self) -> None:
        self._requests = Channel() if _mode == EVENTLET else None

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run `function` and wait for it; meanwhile do what its callbacks ask for. Once for each object."""
        requests = self._requests
        if requests is None:
            return function(*args, **kwargs)
        work = carrying_context(function)
        outcome = _Outcome(lambda: work(*args, **kwargs))

        def body() -> None:
            outcome.settle()
            requests.put(None)

        name = getattr(function, "__name__", "native")
        native.threading.Thread(target=body, daemon=True, name=name).start()
        while (request := requests.get()) is not None:
            request()
        return outcome.get()

    def callback(self, function: Callable[..., T]) -> Callable[..., T]:
        """`function`, made callable from native threads: it runs in the thread that waits in `run`."""
        requests = self._requests
        if requests is None:
            return function

        def ask(*args: Any, **kwargs: Any) -> T:
            outcome = _Outcome(lambda: function(*args, **kwargs))
            settled = native.threading.Event()

            def body() -> None:
                outcome.settle()
                settled.set()

            requests.put(body)
            settled.wait()
            return outcome.get()

        return ask


def run_native(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking function; on eventlet in a native thread, so that other green threads go on meanwhile."""
    return NativeCall().run(function, *args, **kwargs)


class Channel:
    """Messages from native threads to one reader that may be a green thread. For one use or a few: it owns a pipe."""

    def __init__(self) -> None:
        self._items: collections.deque[Any] = collections.deque()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)

    def put(self, item: Any) -> None:
        """Callable from any thread; never blocks."""
        self._items.append(item)
        os.eventfd_write(self._event, 1)

    def get(self, timeout_s: float | None = None) -> Any:
        """The oldest message; waits for one.

        :raises TimeoutError: none came in time.
        """
        _wait_readable(self._event, timeout_s)
        os.eventfd_read(self._event)
        return self._items.popleft()

    def __del__(self) -> None:
        os.close(self._event)


def _wait_readable(descriptor: int, timeout_s: float | None) -> None:
    if _mode == EVENTLET:
        import eventlet.hubs
        import eventlet.timeout

        eventlet.hubs.trampoline(descriptor, read=True, timeout=timeout_s, timeout_exc=TimeoutError)
        return
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(None if timeout_s is None else timeout_s * 1000):
        raise TimeoutError


def pause(seconds: float) -> None:
    """Sleep, in whatever thread this is: a green one lets others go on, a native one stops alone."""
    if _mode == EVENTLET and native.threading.get_ident() == _green_thread:
        import eventlet

        eventlet.sleep(seconds)
    else:
        native.time.sleep(seconds)


def carrying_context(function: Callable[..., T]) -> Callable[..., T]:
    """`function`, made to run in another thread: what it logs there names the request that is worked at here."""
    from oslo_context import context as oslo_context  # (not before eventlet has patched what it keeps contexts in)

    context = oslo_context.get_current()
    if context is None:
        return function

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> T:
        context.update_store()
        return function(*args, **kwargs)

    return run


def spawn(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Start `function` in a daemon thread of this mode (green on eventlet), for the request that is worked at here; returns the
    thread."""
    import threading

    thread = threading.Thread(target=carrying_context(function), args=args, name=name, daemon=True)
    thread.start()
    return thread


class GreenHttpServer:
    """eventlet's HTTP server: each connection in a green thread."""

    STOP_S = 10
    MOST_CONNECTIONS = 1000

    def __init__(
        self, where: tuple[str, int], app: Any, certificate: str | None, key: str | None, timeout_s: int, threads: int
    ) -> None:
        """`app` is a WSGI application; with a certificate it is served by TLS. `timeout_s`: how long clients may be silent.
        `threads` is for servers on native threads.
        """
        self._timeout_s = timeout_s
        self._where, self._app, self._certificate, self._key = where, app, certificate, key
        self._connections: Any = None
        self._accepting: Any = None

    def start(self) -> None:
        """
        :raises OSError: the address is in use, or the certificate cannot be read.
        """
        import logging
        import socket

        import eventlet
        import eventlet.wsgi

        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        listener = eventlet.listen(self._where, family=family, reuse_port=False)
        if self._certificate:
            listener = eventlet.wrap_ssl(listener, certfile=self._certificate, keyfile=self._key, server_side=True)
        self._connections = eventlet.GreenPool(self.MOST_CONNECTIONS)
        self._accepting = eventlet.spawn(
            eventlet.wsgi.server,
            listener,
            self._app,
            custom_pool=self._connections,
            log=logging.getLogger("eventlet.wsgi"),
            log_output=False,
            socket_timeout=self._timeout_s,
            debug=False,
        )

    def stop(self) -> None:
        """Take no more requests, and wait for those that are being answered."""
        import eventlet

        self._accepting.kill()
        with eventlet.Timeout(self.STOP_S, False):
            self._connections.waitall()
