"""token create, token list, token delete: of the token file."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.auth import TokenFile
from nova_blockmigrate.cmd.administration import output


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("token", help="tokens of the token file").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a token and print it; only its hash is kept")
    create.add_argument("--user", required=True)
    create.add_argument("--project", required=True)
    create.add_argument("--role", action="append", required=True, help="admin, manager, member or reader (may be repeated)")
    create.add_argument("--name", default="", help="to find it again")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list tokens")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="make tokens invalid at once")
    delete.add_argument("token", help="the name, or the id that the list shows")
    delete.set_defaults(run=_delete)


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    file = TokenFile(conf.api.token_file)
    print(file.add(arguments.user, arguments.project, tuple(arguments.role), arguments.name, created))


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    records = [
        {"id": each.sha256[:16], "name": each.name, "user": each.user, "project": each.project, "roles": each.roles,
         "created": each.created}
        for each in TokenFile(conf.api.token_file).tokens()
    ]  # fmt: skip
    output.show(records, ("id", "name", "user", "project", "roles", "created"), arguments.json)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    if not TokenFile(conf.api.token_file).remove(arguments.token):
        raise exceptions.NotFound(f"There is no token {arguments.token}: see `token list`.")
