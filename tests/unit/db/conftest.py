"""A database with the present schema for each test: SQLite, or what NBM_TEST_DATABASE names (it is emptied)."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.db import models, schema, session


@pytest.fixture
def conf(tmp_path: pathlib.Path) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    session.register(conf)
    url = os.environ.get("NBM_TEST_DATABASE")
    if url:
        conf.set_override("connection", url, group="database")
    return conf


@pytest.fixture
def database(conf: cfg.ConfigOpts) -> Iterator[None]:
    schema.sync(conf)
    with session.writer() as db:
        for table in reversed(models.Base.metadata.sorted_tables):
            db.execute(table.delete())
    yield
    session.dispose()
