"""Before anything else is imported: choose what the process runs on (see `nova_blockmigrate.concurrency`).

`NOVA_BLOCKMIGRATE_CONCURRENCY` says eventlet or threading; `tools/test` runs the suite once on each.
"""

import os

from nova_blockmigrate import concurrency

concurrency.setup(os.environ.get(concurrency.ENVIRONMENT_VARIABLE, concurrency.THREADING))
