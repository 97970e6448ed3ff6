"""nova-blockmigrate-api: the REST service."""

import sys

from nova_blockmigrate.cmd import process


def _make(conf):  # type: ignore[no-untyped-def]
    from nova_blockmigrate.api.server import ApiService

    return ApiService(conf)


def application():  # type: ignore[no-untyped-def]
    """The WSGI application for a server of one's own (uWSGI, gunicorn, mod_wsgi): `nova_blockmigrate.cmd.api:application()`.

    That server decides on the concurrency; configuration is read from the usual places.
    """
    from nova_blockmigrate import conf as configuration
    from nova_blockmigrate.api import application as api
    from nova_blockmigrate.db import session

    conf = configuration.load([])
    session.configure(conf)
    return api.build(conf)


def main() -> int:
    return process.run("nova-blockmigrate-api", _make)


if __name__ == "__main__":
    sys.exit(main())
