"""db sync, db version."""

from __future__ import annotations

import argparse
from typing import Any

from oslo_config import cfg

from nova_blockmigrate.db import schema


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("db", help="the database's schema").add_subparsers(metavar="VERB", required=True)
    sync = verbs.add_parser("sync", help="bring the schema up to date (may be repeated)")
    sync.set_defaults(run=_sync)
    version = verbs.add_parser("version", help="print the schema's revision")
    version.set_defaults(run=_version)


def _sync(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    schema.sync(conf)


def _version(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    print(schema.version(conf) or "empty")
