"""One of several processes that reach for the same rows at the same time: `racer.py STATE URL WHAT NUMBER`.

Says "ready", begins when a line comes, and prints what became of it as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from nova_blockmigrate import concurrency

ROUNDS = 20


def lease(number: int) -> list[int]:
    """A conductor that tries to own every migration; those that it got."""
    from nova_blockmigrate.db import models, session
    from nova_blockmigrate.db.queries import migrations

    got = []
    for id in range(1, ROUNDS + 1):
        with session.writer() as db:
            if migrations.take_lease(db, id, f"conductor-{number}", models.utcnow(), 60):
                got.append(id)
    return got


def slots(number: int) -> list[int]:
    """A conductor that claims slots until there are no more migrations, and never sees more than one on a host."""
    from nova_blockmigrate.db import session
    from nova_blockmigrate.db.queries import migrations, slots

    seen = []
    for id in range(1, ROUNDS + 1):
        while True:
            with session.writer() as db:
                if id in slots.claim(db, [id], None, 1).started:
                    break
                if migrations.get(db, id).status == "completed":
                    break
            time.sleep(0.001)
        with session.writer() as db:
            holding = [row.id for row in migrations.unfinished(db) if row.holds_slot]
            if id in holding:
                seen.append(len(holding))
                migrations.update(db, id, status="completed", holds_slot=False)
    return seen


def crossing(number: int) -> int:
    """Two that change the same two rows in opposite order: each must get through. How often a transaction was begun."""
    from nova_blockmigrate.db import session
    from nova_blockmigrate.db.queries import instances

    begun = 0
    names = ("first", "second") if number else ("second", "first")

    @session.retried
    def change(value: int) -> None:
        nonlocal begun
        begun += 1
        with session.writer() as db:
            for name in names:
                instances.update(db, name, progress=instances.get(db, name).progress + value)
                time.sleep(0.005)

    for _ in range(ROUNDS):
        change(1)
    return begun


def reporting(number: int) -> None:
    """A conductor that hears of a host first, as all the others do."""
    from nova_blockmigrate.db import models, session
    from nova_blockmigrate.db.queries import services

    for host in range(ROUNDS):
        with session.writer() as db:
            services.report(db, f"host-{host}", "nova-compute", models.utcnow())


WORK: dict[str, Callable[[int], object]] = {"lease": lease, "slots": slots, "crossing": crossing, "reporting": reporting}


def main(state: str, url: str, what: str, number: str) -> None:
    concurrency.setup(os.environ.get(concurrency.ENVIRONMENT_VARIABLE, concurrency.THREADING))
    from oslo_config import cfg

    from nova_blockmigrate import conf as configuration
    from nova_blockmigrate.db import session

    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", state)
    session.register(conf)
    conf.set_override("connection", url, group="database")
    session.configure(conf)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(WORK[what](int(number))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
