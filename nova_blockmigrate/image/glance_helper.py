"""The process that downloads an image, below the compute service: `python -m nova_blockmigrate.image.glance_helper`.

Hosts work in native threads, and on eventlet no HTTP library can be used in one: what it waits with was patched for green
threads. So this is a process without eventlet, and it ends with the service. Its arguments are the service's configuration
files, which hold the credentials; its input says which image goes where; its output is what came of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions, processes
from nova_blockmigrate.image.glance import Glance

MODULE = "nova_blockmigrate.image.glance_helper"
TIMEOUT_S = 6 * 3600.0


def fetch(files: Sequence[str], directories: Sequence[str], image_id: str, path: str) -> None:
    """Have the helper download an image. Call in a native thread.

    :raises ImageNotFound, ImageCorrupt, ImageServiceError, ImageServiceUnavailable: see `Glance.download`.
    """
    where = [f"--config-file={each}" for each in files] + [f"--config-dir={each}" for each in directories]
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", MODULE, *where]
    action = f"fetch image {image_id}"
    try:
        done = processes.run(command, TIMEOUT_S, json.dumps({"image_id": image_id, "path": path}).encode())
    except TimeoutError as error:
        raise exceptions.ImageServiceUnavailable(action=action, reason=str(error)) from error
    if done.returncode:
        raise exceptions.ImageServiceError(action=action, reason=done.failure)
    answer = json.loads(done.stdout)
    if answer["error"]:
        raise getattr(exceptions, answer["error"])(answer["message"])


def main() -> None:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf(sys.argv[1:], project=configuration.PROJECT, default_config_files=[], default_config_dirs=[])
    request = json.load(sys.stdin)
    answer = {"error": "", "message": ""}
    try:
        Glance(conf).download(request["image_id"], request["path"])
    except exceptions.BlockMigrateError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
