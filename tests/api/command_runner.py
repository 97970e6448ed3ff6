"""Runs a client's command as its script does, in a fork of a process that has imported the client: the same, only sooner.

Usage: command_runner.py nova|openstack; each line of standard input is a JSON list of words; each answer is a line of JSON with
code and output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable


def run(main: Callable[[list[str]], int | None], name: str, words: list[str]) -> dict[str, object]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = [name, *words]
            code = 70
            try:
                code = main(words) or 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            except BaseException:  # noqa: BLE001 - the border of the process
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "output": output.read().decode(errors="replace")}


if __name__ == "__main__":
    if sys.argv[1] == "nova":
        from novaclient.shell import main as client
    else:
        from openstackclient.shell import main as client
    for line in sys.stdin:
        print(json.dumps(run(client, sys.argv[1], json.loads(line))), flush=True)
