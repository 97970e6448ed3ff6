"""The revisions build exactly the tables of the models."""

from __future__ import annotations

from typing import Any

import alembic.autogenerate
import alembic.migration
import pytest
from oslo_config import cfg

from nova_blockmigrate.db import models, schema, session


def differences() -> list[Any]:
    """What the tables lack of the models, or have beyond them: columns and their types, defaults, indices, constraints."""
    with session.engine().connect() as connection:
        options = {"compare_type": True, "compare_server_default": _default_differs}
        context = alembic.migration.MigrationContext.configure(connection, opts=options)
        found: list[Any] = alembic.autogenerate.compare_metadata(context, models.Base.metadata)
        return found


def _default_differs(context: Any, there: Any, column: Any, stored: str | None, declared: Any, rendered: str | None) -> bool | None:
    """None: let alembic decide. MariaDB has no truth values: what was declared false it tells as 0."""
    return False if (stored, rendered) == ("0", "false") else None


@pytest.mark.usefixtures("database")
def test_revisions_and_models_do_not_differ() -> None:
    assert differences() == []


def test_sync_tells_its_version_and_may_be_repeated(conf: cfg.ConfigOpts) -> None:
    schema.sync(conf)
    schema.sync(conf)
    assert schema.version(conf) == schema.newest()
    session.dispose()
