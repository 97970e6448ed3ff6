"""How API tests drive the product: the real commands, bare requests, hooks into the hosts, and the database's rows."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from nova_blockmigrate import concurrency

T = TypeVar("T")
ONE_MODE = concurrency.mode() == concurrency.EVENTLET and "NBM_TEST_DATABASE" not in os.environ
"""Long tests of what does not depend on the concurrency run on native threads only, and on every database."""
MICROVERSION = "2.96"


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 20.0, interval_s: float = 0.05) -> T:
    """The first true value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(interval_s)
    return value


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def message(self) -> str:
        """The text of an error."""
        (error,) = self.body.values()
        return str(error["message"])


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        return f"{self.out}\n{self.err}"

    def table(self) -> list[dict[str, str]]:
        """The table that the nova command draws."""
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in self.out.splitlines() if line.startswith("|")]
        return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


class Product:
    """The process of `cloud.py`, and ways to it."""

    def __init__(
        self, process: subprocess.Popen[str], state: pathlib.Path, port: int, tokens: dict[str, str], database: str
    ) -> None:
        self._process = process
        self.state = state
        self.tokens = tokens
        self.database = database
        self.endpoint = f"http://127.0.0.1:{port}/v2.1"

    # --- hooks ------------------------------------------------------------------------------------------------------

    def control(self, do: str, **arguments: Any) -> Any:
        """A method of `cloud.Controls`, or of a fake host when `host` is named."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the product died: {self.log()[-3000:]}"
        reply = json.loads(line)
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def log(self) -> str:
        return (self.state / "log").read_text()

    # --- commands ---------------------------------------------------------------------------------------------------

    def nova(self, *arguments: str, token: str | None = None) -> Said:
        only_nova = {"OS_AUTH_URL": self.endpoint, "OS_PROJECT_NAME": "admin"}  # asked for, never used
        return self._run("nova", *arguments, token=token, **only_nova)

    def openstack(self, *arguments: str, token: str | None = None) -> Said:
        return self._run("openstack", "--os-identity-api-version", "2", *arguments, token=token)

    def nova_blockmigrate(self, *arguments: str, token: str | None = None, **variables: str) -> Said:
        return self._run("-m", "nova_blockmigrate.cmd.client", *arguments, token=token, **variables)

    def _run(self, program: str, *arguments: str, token: str | None, **variables: str) -> Said:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.state),
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
            "OS_AUTH_TYPE": "admin_token",
            "OS_TOKEN": self.tokens["admin"] if token is None else token,
            "OS_ENDPOINT": self.endpoint,
            **variables,
        }
        command = program if program == "-m" else str(pathlib.Path(sys.executable).with_name(program))
        done = subprocess.run(
            [sys.executable, command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    # --- bare requests ----------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None, token: str | None = None, version: str = MICROVERSION) -> Answer:
        headers = {"X-Auth-Token": self.tokens["admin"] if token is None else token, "Content-Type": "application/json"}
        headers["OpenStack-API-Version"] = f"compute {version}"
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        root = self.endpoint.removesuffix("/v2.1") if path.startswith("/blockmigrate/") else self.endpoint
        request = urllib.request.Request(root + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                raw = response.read()
                return Answer(response.status, json.loads(raw) if raw else None)
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read()))

    def server(self, uuid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/servers/{uuid}").body["server"]
        return found

    def migrations(self, uuid: str) -> list[dict[str, Any]]:
        """Newest first."""
        listed = self.request("GET", f"/os-migrations?instance_uuid={uuid}").body["migrations"]
        return sorted(listed, key=lambda migration: -int(migration["id"]))

    def migrate(self, uuid: str, host: str | None = None, **values: Any) -> Answer:
        body = {"os-migrateLive": {"host": host, "block_migration": "auto", **values}}
        return self.request("POST", f"/servers/{uuid}/action", body)

    # --- the database -----------------------------------------------------------------------------------------------

    def rows(self, uuid: str) -> dict[str, list[dict[str, Any]]]:
        """Everything that the database has of one server, to compare."""
        columns = {"instances": "uuid", "migrations": "instance_uuid", "instance_actions": "instance_uuid"}
        engine = sa.create_engine(self.database)
        with engine.connect() as db:
            found = {
                table: [
                    dict(row._mapping)
                    for row in db.execute(sa.text(f"SELECT * FROM {table} WHERE {column} = :uuid ORDER BY id"), {"uuid": uuid})
                ]
                for table, column in columns.items()
            }
        engine.dispose()
        return found

    # --- steps that tests share -------------------------------------------------------------------------------------

    def wait_active(self, uuid: str, host: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            server = self.server(uuid)
            settled = (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", host, None)
            return server if settled else None

        return wait_until(there, f"{uuid} ACTIVE on {host}")

    def wait_migration(self, uuid: str, status: str) -> dict[str, Any]:
        """The newest migration of the server, once it has that status."""
        return wait_until(
            lambda: next((each for each in self.migrations(uuid)[:1] if each["status"] == status), None), f"migration {status}"
        )
