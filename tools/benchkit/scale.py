"""How the control plane bears many: the API, conductors and compute services with guests in memory, real RabbitMQ and PostgreSQL.

A row and a guest for each server are made directly; everything that is measured goes through the API. The counts are of SQL
statements and messages, by what a migration needs: what services do anyway (reports, leases) is printed apart.
"""

import collections
import contextlib
import http.client
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchkit.crowd import host_name, server_uuid
from labkit import own, packages
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.own import daemon, postgresql, rabbitmq

CROWD = Path(__file__).with_name("crowd.py")
DATABASE = "scale"
PAGE = 100
REPEATS = 5
WAIT_S = 3600
CONFIGURATION = """
[DEFAULT]
transport_url = {broker}
host = {name}
state_path = {folder}/{name}
instances_path = {folder}/instances
compute_driver = fake
concurrency = {concurrency}
log_file = {folder}/{name}.log
use_stderr = false
service_down_time = 900
report_interval = 120
rpc_conn_pool_size = 200
[conductor]
max_parallel_checks = 4
host_timeout = 600
[network]
firewall_refresh_interval = 600
[database]
connection = {database}
[api]
listen = 127.0.0.1
listen_port = {port}
token_file = {folder}/tokens.json
[fake]
transfer_time_s = 0.2
"""


@dataclass(frozen=True)
class Sizes:
    hosts: int = 200
    servers: int = 10_000
    migrations: int = 2_000
    conductors: int = 2
    clients: int = 8
    """Requests at a time."""
    concurrency: str = "eventlet"

    @property
    def first(self) -> int:
        """Migrations of the first round, with whose counts those of the second are compared."""
        return min(100, self.migrations // 2)


class Process:
    """One process of the crowd."""

    def __init__(self, role: str, configuration: Path, sizes: Sizes) -> None:
        counts = json.dumps({"hosts": sizes.hosts, "servers": sizes.servers})
        argv = [str(packages.VENV / "bin/python"), "-W", "ignore", str(CROWD), role, str(configuration), counts]
        self._errors = configuration.with_suffix(".errors")
        self.name = configuration.stem
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self) -> dict[str, Any]:
        """Its next line.

        :raises LabError: it has ended.
        """
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise LabError(f"{self.name} has ended: {self._errors.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def counters(self) -> dict[str, Any]:
        if self._process.stdin is None:
            raise LabError(f"{self.name} has no input")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()


class Crowd:
    """The running product, and ways to it."""

    def __init__(self, sizes: Sizes, folder: Path, database: postgresql.Postgresql, broker: str, options: str) -> None:
        self.sizes, self.broker = sizes, broker
        self._folder, self._database, self._options = folder, database, options
        self._url, self.port, self.token = database.create(DATABASE), daemon.free_port(), ""
        self.processes: list[Process] = []

    def start(self, say: Callable[[str], None]) -> None:
        say(f"{self.sizes.servers} servers on {self.sizes.hosts} hosts are written")
        seed = self._process("seed", "seed")
        self.token = seed.answer()["token"]
        say("services start")
        roles = [("conductor", f"conductor{number}") for number in range(1, self.sizes.conductors + 1)]
        for role, name in (*roles, ("hosts", "hosts"), ("api", "api")):
            self.processes.append(self._process(role, name))
        for process in self.processes:
            process.answer()
        wait_until(lambda: self.count("SELECT count(*) FROM compute_nodes") == self.sizes.hosts, 300, "all hosts report")

    def end(self) -> None:
        for process in self.processes:
            process.end()

    def _process(self, role: str, name: str) -> Process:
        path = self._folder / f"{name}.conf"
        path.touch(mode=0o600)
        path.write_text(
            CONFIGURATION.format(
                broker=self.broker,
                name=name,
                folder=self._folder,
                concurrency=self.sizes.concurrency,
                database=self._url,
                port=self.port,
            )
            + self._options
        )
        return Process(role, path, self.sizes)

    def count(self, sql: str) -> int:
        return int(self._database.sql(sql, DATABASE))

    def rows(self, sql: str) -> list[list[str]]:
        return [line.split("|") for line in self._database.sql(sql, DATABASE).splitlines()]

    def counters(self) -> dict[str, dict[str, Any]]:
        return {process.name: process.counters() for process in self.processes}

    def log_tail(self) -> str:
        return "".join(path.read_text(errors="replace")[-1500:] for path in sorted(self._folder.glob("conductor*.log")))


class Client:
    """One kept connection to the API."""

    def __init__(self, crowd: Crowd) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", crowd.port, timeout=120)
        self._headers = {
            "X-Auth-Token": crowd.token,
            "OpenStack-API-Version": "compute 2.96",
            "Content-Type": "application/json",
        }

    def request(self, method: str, path: str, body: Any = None) -> tuple[float, int, Any]:
        """Seconds, status and answer."""
        sent = json.dumps(body) if body is not None else None
        began = time.monotonic()
        self._connection.request(method, f"/v2.1{path}", sent, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return time.monotonic() - began, answer.status, json.loads(text) if text else None


@dataclass(frozen=True)
class Round:
    """What some migrations cost."""

    migrations: int
    done: int
    failed: int
    seconds: float
    requests_s: float
    """Seconds in which all were asked for."""
    times: list[float]
    """Seconds of each request."""
    lasted: list[float]
    """Seconds of each migration, from its request to its end, with the wait for its hosts."""
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]

    def grown(self, key: str) -> float:
        return sum(float(self.after[name][key] - self.before[name][key]) for name in self.after)

    @property
    def queries(self) -> float:
        """SQL statements for each migration."""
        return self.grown("queries") / self.migrations

    @property
    def messages(self) -> float:
        """Messages for each migration: calls, casts and replies. An answer to what is periodic is periodic, too."""
        return (self.grown("messages") - self.grown("periodic_calls")) / self.migrations


def run(sizes: Sizes) -> int:
    """Measure, print the table and the line of JSON; 0 when every migration is done."""
    if sizes.migrations > sizes.servers or sizes.hosts < 2:
        raise LabError("there must be two hosts, and a server for each migration")
    packages.ensure_packages((*postgresql.PACKAGES, *rabbitmq.PACKAGES))
    packages.ensure_venv()
    with crowd_of(sizes) as crowd:
        pages = measure_pages(crowd, "/servers/detail", "servers", sizes.servers)
        _say("pages of servers: " + ", ".join(f"{name} {1000 * page['s']:.0f} ms" for name, page in pages.items()))
        rounds = [migrate(crowd, 0, sizes.first), migrate(crowd, sizes.first, sizes.migrations - sizes.first)]
        pages_of_migrations = measure_pages(crowd, "/os-migrations", "migrations", sizes.migrations)
        figures = _figures(sizes, rounds, pages, pages_of_migrations, crowd.counters())
        _explain(rounds[-1])
        if figures["failed"]:
            print(crowd.log_tail(), file=sys.stderr)
            for reason in crowd.rows("SELECT reason, count(*) FROM migrations WHERE status != 'completed' GROUP BY 1 LIMIT 10"):
                print(" x ".join(reversed(reason)), file=sys.stderr)
    _print(figures)
    print(json.dumps(figures))
    return 0 if figures["migrations_done"] == sizes.migrations else 1


@contextlib.contextmanager
def crowd_of(sizes: Sizes, options: str = "") -> Iterator[Crowd]:
    """Everything running; `options` are added to the services' configuration."""
    with own.folder() as folder, contextlib.ExitStack() as stack:
        _say("PostgreSQL and RabbitMQ start")
        database = stack.enter_context(postgresql.running(folder / "postgresql"))
        broker = stack.enter_context(rabbitmq.running(folder / "rabbitmq"))
        crowd = Crowd(sizes, folder, database, broker, options)
        stack.callback(crowd.end)
        crowd.start(_say)
        yield crowd


def migrate(crowd: Crowd, first: int, number: int) -> Round:
    """Ask for migrations of `number` servers, from `first` on; every tenth chooses its host by itself."""
    _say(f"{number} migrations")
    before, began = crowd.counters(), time.monotonic()
    times: list[float] = []
    refused: list[str] = []
    todo = iter(range(first, first + number))
    lock = threading.Lock()

    def work() -> None:
        client = Client(crowd)
        while True:
            with lock:
                server = next(todo, None)
            if server is None:
                return
            host = None if server % 10 == 9 else host_name((server + crowd.sizes.hosts // 2) % crowd.sizes.hosts)
            body = {"os-migrateLive": {"host": host, "block_migration": True}}
            seconds, status, answer = client.request("POST", f"/servers/{server_uuid(server)}/action", body)
            times.append(seconds)
            if status != 202:
                refused.append(f"{status}: {answer}")

    clients = [threading.Thread(target=work) for _ in range(crowd.sizes.clients)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    asked = time.monotonic() - began
    if refused:
        _say(f"{len(refused)} requests were refused: {refused[0]}")
    _await_ends(crowd, first + number - len(refused), number)
    seconds = time.monotonic() - began
    rows = crowd.rows(
        f"SELECT status, extract(epoch FROM updated_at - created_at) FROM migrations ORDER BY id DESC LIMIT {number - len(refused)}"
    )
    done = sum(status == "completed" for status, _ in rows)
    lasted = [float(each) for _, each in rows]
    return Round(number, done, number - done, seconds, asked, times, lasted, before, crowd.counters())


def _await_ends(crowd: Crowd, total: int, number: int) -> None:
    said = time.monotonic()
    deadline = said + WAIT_S
    ended = "SELECT count(*) FROM migrations WHERE status IN ('completed', 'failed', 'error', 'cancelled')"
    while (over := crowd.count(ended)) < total:
        if time.monotonic() > deadline:
            raise LabError(f"{total - over} migrations are not over after {WAIT_S} s")
        if time.monotonic() - said > 10:
            said = time.monotonic()
            _say(f"  {number - (total - over)} of {number} are over")
        time.sleep(0.5)


def measure_pages(crowd: Crowd, path: str, key: str, total: int) -> dict[str, dict[str, float]]:
    """Median seconds, and SQL statements, of the first, the middle and the last page."""
    client = Client(crowd)
    limit = min(PAGE, max(1, total // 3))
    markers: list[str | None] = [None]
    while True:
        _, status, answer = client.request("GET", _page(path, limit, markers[-1]))
        if status != 200:
            raise LabError(f"GET {path}: {status} {answer}")
        if f"{key}_links" not in answer:
            break
        markers.append(answer[key][-1]["uuid" if key == "migrations" else "id"])
    found = {}
    for name, marker in (("first", markers[0]), ("middle", markers[len(markers) // 2]), ("last", markers[-1])):
        before = crowd.counters()["api"]["queries"]
        times = [client.request("GET", _page(path, limit, marker))[0] for _ in range(REPEATS)]
        queries = (crowd.counters()["api"]["queries"] - before) / REPEATS
        found[name] = {"s": round(statistics.median(times), 4), "queries": queries}
    return found


def _page(path: str, limit: int, marker: str | None) -> str:
    return f"{path}?limit={limit}" + (f"&marker={marker}" if marker else "")


def _figures(
    sizes: Sizes,
    rounds: Sequence[Round],
    pages: dict[str, dict[str, float]],
    pages_of_migrations: dict[str, dict[str, float]],
    now: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    small, large = rounds
    times = [seconds for each in rounds for seconds in each.times]
    return {
        "migrations_done": sum(each.done for each in rounds),
        "failed": sum(each.failed for each in rounds),
        "queries_per_migration": round(large.queries, 1),
        "messages_per_migration": round(large.messages, 1),
        "p50_s": round(statistics.median(times), 4),
        "p99_s": round(_percentile(times, 99), 4),
        "hosts": sizes.hosts,
        "servers": sizes.servers,
        "conductors": sizes.conductors,
        "concurrency": sizes.concurrency,
        "requests_per_s": round(large.migrations / large.requests_s, 1),
        "migrations_per_s": round(large.done / large.seconds, 2),
        "migrations_per_s_per_conductor": round(large.done / large.seconds / sizes.conductors, 2),
        "queries_per_migration_of_first": round(small.queries, 1),
        "messages_per_migration_of_first": round(small.messages, 1),
        "first": small.migrations,
        "migration_p50_s": round(statistics.median(large.lasted), 2) if large.lasted else None,
        "migration_p99_s": round(_percentile(large.lasted, 99), 2) if large.lasted else None,
        "processor_s_per_migration": {
            name: round((large.after[name]["processor_s"] - large.before[name]["processor_s"]) / large.migrations, 4)
            for name in large.after
        },
        "periodic_queries_per_s": round(large.grown("periodic_queries") / large.seconds, 1),
        "pages_of_servers": pages,
        "pages_of_migrations": pages_of_migrations,
        "resident_mib": {name: round(own["resident_mib"], 1) for name, own in now.items()},
    }


def _explain(each: Round) -> None:
    """Where the statements come from, if they were counted by that (NBM_BENCH_EXPLAIN)."""
    places: collections.Counter[str] = collections.Counter()
    for name in each.after:
        places.update(each.after[name]["places"])
        places.subtract(each.before[name]["places"])
    for place, number in places.most_common(60):
        print(f"{number / each.migrations:8.2f}  {place}", file=sys.stderr)


def _percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        print(f"{name:<36}{value}")


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
