"""The schema's version: bringing a database up to date, and telling where it stands."""

from __future__ import annotations

import importlib.resources

import alembic.command
import alembic.config
import alembic.migration
import alembic.script
from oslo_config import cfg

from nova_blockmigrate.db import session


def sync(conf: cfg.ConfigOpts, revision: str = "head") -> None:
    """Bring the database to `revision`. Doing it again changes nothing."""
    session.configure(conf)
    with session.schema_writer() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)


def version(conf: cfg.ConfigOpts) -> str | None:
    """The revision that the database has; None for an empty one."""
    session.configure(conf)
    with session.engine().connect() as connection:
        return alembic.migration.MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The revision that this code needs."""
    return alembic.script.ScriptDirectory.from_config(_alembic_config()).get_current_head()


def _alembic_config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(importlib.resources.files("nova_blockmigrate.db") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
