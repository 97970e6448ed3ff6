"""How a service of ours runs as a process: configuration, logging, signals. In one process, in either concurrency mode.

Not oslo.service's launcher: on native threads it forks, and starts a service that refuses its configuration again and
again; ours must stop with one clear message (doc/decisions/0002).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from nova_blockmigrate import breakpoints, concurrency


class Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


def run(name: str, make: Callable[..., Service], argv: list[str] | None = None) -> int:
    """Run a service until SIGTERM or SIGINT; returns the exit code.

    `make` is called with the configuration, after the process was set up for its concurrency mode.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        concurrency.setup(concurrency.chosen_mode(arguments))
        breakpoints.set_up(os.environ.get(breakpoints.ENVIRONMENT_VARIABLE))
    except ValueError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    from oslo_config import cfg
    from oslo_service import systemd

    from nova_blockmigrate import conf as configuration
    from nova_blockmigrate import exceptions

    stop = concurrency.Channel()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stop.put(received))
    try:
        conf = configuration.load(arguments)
        service = make(conf)
        service.start()
    except (cfg.Error, exceptions.BlockMigrateError) as error:
        print(f"{name} does not start: {error}", file=sys.stderr)
        return 1
    systemd.notify_once()
    received = stop.get()
    logging.getLogger(name).info("%s: stopping", signal.Signals(received).name)
    service.stop()
    return 0
