"""The API for a WSGI server of one's own (gunicorn, uWSGI, mod_wsgi): `nova_blockmigrate.wsgi:application`.

That server makes processes and threads; ours here are native ones, whatever `[DEFAULT] concurrency` says. Configuration is
read from the usual places, or from the files that the environment variable names. Each process must load this module
itself: connections to database and broker do not outlive a fork.
"""

from __future__ import annotations

import os
from typing import Any

from nova_blockmigrate import concurrency

CONFIGURATION = "NOVA_BLOCKMIGRATE_CONFIG_FILES"
"""Environment variable: paths of configuration files, with ":" between them."""


def _make() -> Any:
    concurrency.setup(concurrency.THREADING)
    from nova_blockmigrate import conf as configuration
    from nova_blockmigrate.api import application as api
    from nova_blockmigrate.db import session

    files = [path for path in os.environ.get(CONFIGURATION, "").split(os.pathsep) if path]
    conf = configuration.load([], files or None)
    session.configure(conf)
    return api.build(conf)


application = _make()
