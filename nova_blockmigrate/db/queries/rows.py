"""What all tables share: changing rows, and lists in pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import attributes

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Base

Row = TypeVar("Row", bound=Base)


def add(db: orm.Session, row: Row) -> Row:
    """Insert `row`, and make all of it readable after the session: without a query where what it holds is known anyway."""
    db.add(row)
    db.flush()
    mapper = sa.inspect(type(row))
    if any(not relationship.uselist for relationship in mapper.relationships):
        db.refresh(row)
        return row
    for attribute in mapper.attrs:
        if attribute.key not in row.__dict__:
            # a new row has no children, and columns without a value are NULL
            attributes.set_committed_value(row, attribute.key, [] if attribute.key in mapper.relationships else None)
    return row


def assign(db: orm.Session, row: Row, values: dict[str, Any]) -> Row:
    """Change columns of one row; only those that differ are written.

    :raises AttributeError: the table has no such column.
    """
    columns = sa.inspect(type(row)).columns
    for name, value in values.items():
        if name not in columns:
            raise AttributeError(f"{type(row).__name__} has no column {name!r}")
        setattr(row, name, value)
    db.flush()
    return row


def change_where(db: orm.Session, model: type[Row], conditions: Sequence[Any], values: dict[str, Any]) -> bool:
    """Compare and swap: one UPDATE that takes effect only while the conditions hold; whether it did."""
    statement = sa.update(model).where(*conditions).values(**values).execution_options(synchronize_session=False)
    result: Any = db.execute(statement)
    changed: bool = result.rowcount > 0
    if changed:
        for row in [row for row in db.identity_map.values() if isinstance(row, model)]:
            db.refresh(row, attribute_names=[*values, "updated_at"])  # columns only: related rows have not changed
    return changed


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, and in which order."""

    limit: int | None = None
    marker: str | int | None = None
    """The last row of the page before: what the list shows as id."""
    sort: tuple[tuple[str, bool], ...] = ()
    """Columns, the most important first; true for descending."""


def page(
    db: orm.Session, model: type[Row], conditions: Sequence[Any], page: Page, marker_column: str, marker_scope: Sequence[Any] = ()
) -> list[Row]:
    """The rows of one page. The primary key breaks ties, so that no row is skipped or seen twice.

    :raises exceptions.MarkerNotFound: the marker is not a row (of `marker_scope`).
    """
    table = sa.inspect(model)
    sort = list(page.sort)
    key = table.primary_key[0].name
    if key not in [name for name, _ in sort]:
        sort.append((key, sort[-1][1] if sort else True))
    statement = sa.select(model).where(*conditions)
    if page.marker is not None:
        marker = db.scalar(sa.select(model).where(getattr(model, marker_column) == page.marker, *marker_scope))
        if marker is None:
            raise exceptions.MarkerNotFound(marker=page.marker)
        statement = statement.where(_after(model, marker, sort))
    for name, descending in sort:
        column = getattr(model, name)
        # databases disagree on where NULL sorts: said explicitly, first when ascending
        empty_first = sa.case((column.is_(None), 0), else_=1) if _nullable(model, name) else None
        for part in (empty_first, column):
            if part is not None:
                statement = statement.order_by(part.desc() if descending else part.asc())
    return list(db.scalars(statement.limit(page.limit)))


def _nullable(model: type[Base], name: str) -> bool:
    return bool(sa.inspect(model).columns[name].nullable)


def _after(model: type[Base], marker: Base, sort: Sequence[tuple[str, bool]]) -> sa.ColumnElement[bool]:
    """Rows that come after `marker`: equal in the first n columns and beyond it in the next, for every n."""
    alternatives = []
    equal: list[sa.ColumnElement[bool]] = []
    for name, descending in sort:
        column, value = getattr(model, name), getattr(marker, name)
        alternatives.append(sa.and_(*equal, _beyond(column, value, descending)))
        equal.append(column.is_(None) if value is None else column == value)
    return sa.or_(*alternatives)


def _beyond(column: Any, value: Any, descending: bool) -> sa.ColumnElement[bool]:
    """NULL counts as smaller than everything."""
    if descending:
        return sa.false() if value is None else sa.or_(column < value, column.is_(None))
    after: sa.ColumnElement[bool] = column.is_not(None) if value is None else column > value
    return after
