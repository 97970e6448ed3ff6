"""Serves a WSGI application of OpenStack's: serve MODULE:NAME ADDRESS PORT."""

import importlib
import sys

from cheroot import wsgi
from sqlalchemy import orm

from labstack import sqlite


def main() -> None:
    application, address, port = sys.argv[1:]
    del sys.argv[1:]  # these applications read the command line when they are imported
    sqlite.install()
    module, _, name = application.partition(":")
    loaded = getattr(importlib.import_module(module), name)
    if module.startswith("neutron."):
        make_ready()
    server = wsgi.Server((address, int(port)), loaded, numthreads=10, max=20)
    server.nodelay = True
    try:
        server.start()
    except KeyboardInterrupt:
        server.stop()


def make_ready() -> None:
    """What Neutron makes of itself in its first request. It means to get one at a time then: a second one, in another thread, is
    answered by 404 or 500, and Nova believes that 404."""
    from neutron import policy

    orm.configure_mappers()
    policy.init()


if __name__ == "__main__":
    main()
