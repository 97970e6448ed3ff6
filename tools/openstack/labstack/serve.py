"""Serves a WSGI application of OpenStack's: serve MODULE:NAME ADDRESS PORT."""

import importlib
import sys

from cheroot import wsgi

from labstack import sqlite


def main() -> None:
    application, address, port = sys.argv[1:]
    del sys.argv[1:]  # these applications read the command line when they are imported
    sqlite.install()
    module, _, name = application.partition(":")
    server = wsgi.Server((address, int(port)), getattr(importlib.import_module(module), name), numthreads=10, max=20)
    server.nodelay = True
    try:
        server.start()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
