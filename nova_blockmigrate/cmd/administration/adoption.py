"""adopt, release: guests that somebody else made become servers, and stop being servers. Nothing changes on the host."""

from __future__ import annotations

import argparse
import contextlib
import json
import warnings
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.context import service_context

_COLUMNS = ("name", "uuid", "result", "memory_mib", "vcpus", "disk_gib", "interfaces", "volumes")
_SILENCE = "No conductor answered: is nova-blockmigrate-conductor running, and is transport_url right?"


def add_commands(subparsers: Any) -> None:
    adopt = subparsers.add_parser("adopt", help="make servers of guests that somebody else made")
    adopt.add_argument("host", metavar="HOST", help="the compute host that they are on")
    adopt.add_argument("domains", metavar="DOMAIN", nargs="*", help="names or UUIDs, as `virsh list --all` shows them")
    adopt.add_argument("--all", action="store_true", help="all guests of the host that are not servers yet")
    adopt.add_argument("--project", default="admin", help="id of the project that they shall belong to (default: %(default)s)")
    adopt.add_argument("--user", default="admin", help="id of the user that they shall belong to (default: %(default)s)")
    adopt.add_argument("--dry-run", action="store_true", help="only say what would become of each, and what could not be moved")
    output.add_json_option(adopt)
    adopt.set_defaults(run=_adopt)
    release = subparsers.add_parser("release", help="forget adopted servers; their guests go on")
    release.add_argument("servers", metavar="SERVER", nargs="+", help="name or UUID")
    release.set_defaults(run=_release)


def _adopt(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    """Exit code 1 when a guest was refused."""
    if bool(arguments.domains) == arguments.all:
        raise exceptions.ValidationError(detail="name the domains, or say --all")
    records = _ask(conf, arguments)
    if arguments.all:
        records = [record for record in records if record["result"] != "is a server already"]
    if arguments.json:
        print(json.dumps(records, indent=2))
    else:
        output.show(records, _COLUMNS, as_json=False)
        for record in records:
            for line in [record["reason"], *(f"cannot be moved now: {obstacle}" for obstacle in record["obstacles"])]:
                if line:
                    print(f"{record['name']}: {line}")
    return 1 if any(record["result"] == "refused" for record in records) else 0


def _ask(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask until the host has looked at all guests: their files may have to be read for the first time."""
    wanted = (arguments.host, arguments.domains, arguments.project, arguments.user, arguments.dry_run)
    with _conductor(conf) as conductor:
        while True:
            answer: list[dict[str, Any]] | None = conductor.adopt(service_context(), *wanted)
            if answer is not None:
                return answer


def _release(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    with _conductor(conf) as conductor:
        for named in arguments.servers:
            print(f"{named} ({conductor.release_server(service_context(), named)}) is released")
    return 0


@contextlib.contextmanager
def _conductor(conf: cfg.ConfigOpts) -> Iterator[Any]:
    """A `ConductorAPI`; its errors come in words, without the trace of where they arose."""
    with warnings.catch_warnings():  # that eventlet is deprecated is for us to know; and other commands need none of this
        warnings.simplefilter("ignore")
        import oslo_messaging

        from nova_blockmigrate import rpc
        from nova_blockmigrate.conductor.rpcapi import ConductorAPI
    try:
        yield ConductorAPI(conf)
    except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure) as error:
        raise exceptions.Conflict(f"{_SILENCE} ({error})") from error
    except exceptions.BlockMigrateError as error:
        raise exceptions.Conflict(error.message) from error
    finally:
        rpc.cleanup()
