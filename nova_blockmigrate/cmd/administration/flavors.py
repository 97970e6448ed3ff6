"""flavor create, flavor list, flavor delete."""

from __future__ import annotations

import argparse
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.queries import flavors

_COLUMNS = ("id", "name", "memory_mib", "vcpus", "root_gib")


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("flavor", help="flavors").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a flavor and print its id")
    create.add_argument("--name", required=True)
    create.add_argument("--memory-mib", type=_positive, required=True)
    create.add_argument("--vcpus", type=_positive, required=True)
    create.add_argument("--root-gib", type=int, required=True, help="size of the root disk; 0: as large as the image")
    create.add_argument("--id", help="default: a random one")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list flavors")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="delete a flavor; its servers keep what they have")
    delete.add_argument("flavor", help="name or id")
    delete.set_defaults(run=_delete)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        made = flavors.create(
            db,
            flavorid=arguments.id,
            name=arguments.name,
            memory_mib=arguments.memory_mib,
            vcpus=arguments.vcpus,
            root_gib=arguments.root_gib,
        )
    print(made.flavorid)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.reader() as db:
        found = flavors.search(db)
    records = [{name: getattr(flavor, name) for name in _COLUMNS[1:]} | {"id": flavor.flavorid} for flavor in found]
    output.show(records, _COLUMNS, arguments.json)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        named = db.scalar(sa.select(Flavor.flavorid).where(Flavor.name == arguments.flavor))
        flavors.delete(db, named or arguments.flavor)
