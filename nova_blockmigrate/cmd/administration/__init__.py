"""The sub-commands of nova-blockmigrate-manage, one module a noun."""

from __future__ import annotations

from typing import Any

import sqlalchemy.exc
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.cmd.administration import (
    adoption,
    database,
    flavors,
    host,
    images,
    migrations,
    networks,
    security_groups,
    tokens,
    volumes,
)

DATABASE_ERRORS = (db_exception.DBError, sqlalchemy.exc.SQLAlchemyError)


def add_commands(subparsers: Any) -> None:
    for module in (database, tokens, flavors, networks, security_groups, images, volumes, migrations, adoption, host):
        module.add_commands(subparsers)


def load(config_files: list[str], debug: bool) -> cfg.ConfigOpts:
    """The configuration: the files named, or /etc/nova-blockmigrate/nova-blockmigrate.conf. Logs go to stderr, warnings only."""
    conf = cfg.CONF  # (oslo.messaging knows no other)
    conf.reset()
    log.register_options(conf)
    configuration.register(conf)
    conf([], project=configuration.PROJECT, default_config_files=config_files or None)
    conf.set_override("log_file", None)
    conf.set_override("log_dir", None)
    conf.set_override("debug", debug)
    conf.set_override("default_log_levels", ["alembic=WARN", "sqlalchemy=WARN"])
    conf.set_override("logging_default_format_string", "%(levelname)s %(name)s: %(message)s")
    log.setup(conf, configuration.PROJECT)
    if not debug:
        log.getLogger(None).logger.setLevel("WARNING")
    return conf
