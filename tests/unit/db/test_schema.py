"""The revisions build exactly the tables of the models."""

from __future__ import annotations

import alembic.autogenerate
import alembic.migration
import pytest
from oslo_config import cfg

from nova_blockmigrate.db import models, schema, session


@pytest.mark.usefixtures("database")
def test_revisions_and_models_do_not_differ() -> None:
    with session.engine().connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        assert alembic.autogenerate.compare_metadata(context, models.Base.metadata) == []


def test_sync_tells_its_version_and_may_be_repeated(conf: cfg.ConfigOpts) -> None:
    schema.sync(conf)
    schema.sync(conf)
    assert schema.version(conf) == schema.newest()
    session.dispose()
