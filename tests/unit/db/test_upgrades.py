"""A database of every earlier revision, with rows in all its tables, is brought up to date and loses nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import alembic.script
import pytest
import sqlalchemy as sa
from oslo_config import cfg
from test_schema import differences

from nova_blockmigrate.db import models, schema, session

ROWS = 3
_VALUES: dict[type, Any] = {
    int: lambda number: number,
    str: lambda number: f"{number}",
    bool: lambda number: bool(number % 2),
    datetime.datetime: lambda number: datetime.datetime(2026, 1, number, 12, 30, 15, 250_000),
}


def earlier_revisions() -> list[str]:
    """All but the newest, oldest first."""
    script = alembic.script.ScriptDirectory.from_config(schema._alembic_config())
    return [revision.revision for revision in script.walk_revisions()][:0:-1]


@pytest.fixture
def empty(conf: cfg.ConfigOpts) -> Iterator[None]:
    """A database without any table; left with the present ones."""
    session.configure(conf)
    _drop_everything()
    yield
    _drop_everything()
    schema.sync(conf)
    session.dispose()


def _drop_everything() -> None:
    tables = sa.MetaData()
    tables.reflect(session.engine())
    tables.drop_all(session.engine())


def fill() -> dict[str, list[dict[str, Any]]]:
    """Put rows into every table that there is; what they hold, by table."""
    tables = sa.MetaData()
    tables.reflect(session.engine())
    written: dict[str, list[dict[str, Any]]] = {}
    with session.schema_writer() as connection:
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            written[table.name] = [
                {column.name: value_of(column, number) for column in table.columns} for number in range(1, ROWS + 1)
            ]
            typed = sa.table(table.name, *(sa.column(column.name, type_of(column)) for column in table.columns))
            connection.execute(typed.insert(), written[table.name])
    return written


def type_of(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """As the models declare it: not every database tells JSON from text, or truth from numbers."""
    declared = models.Base.metadata.tables[column.table.name].columns.get(column.name)
    return column.type if declared is None else declared.type


def value_of(column: sa.Column[Any], number: int) -> Any:
    """Unequal in unequal rows, and the same in columns that refer to each other."""
    kind = type_of(column)
    return {"number": number} if isinstance(kind, sa.JSON) else _VALUES[kind.python_type](number)


def stored(names: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The same columns of the same tables, as the models read them."""
    found = {}
    with session.reader() as db:
        for name, rows in names.items():
            columns = [models.Base.metadata.tables[name].columns[column] for column in rows[0]]
            found[name] = [dict(row._mapping) for row in db.execute(sa.select(*columns).order_by(columns[0]))]
    return found


@pytest.mark.parametrize("revision", earlier_revisions())
@pytest.mark.usefixtures("empty")
def test_everything_is_kept_from_revision(conf: cfg.ConfigOpts, revision: str) -> None:
    schema.sync(conf, revision)
    assert schema.version(conf) == revision
    written = fill()
    assert len(written) >= 10

    schema.sync(conf)

    assert schema.version(conf) == schema.newest()
    assert differences() == []
    assert stored(written) == written
    with session.reader() as db:  # and the columns that are new have values that the models can read
        for mapper in models.Base.registry.mappers:
            if mapper.local_table is not None and mapper.local_table.name in written:  # type: ignore[attr-defined]
                assert len(db.scalars(sa.select(mapper.class_)).unique().all()) == ROWS


def test_earlier_revisions_are_all_that_were_released() -> None:
    assert earlier_revisions()[0] == "0001_initial"
    assert len(earlier_revisions()) >= 7
