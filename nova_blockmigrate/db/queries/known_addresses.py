"""Addresses inside what is known of servers' ports (JSON columns), as conditions: each database unfolds JSON in its own words."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql.functions import FunctionElement

from nova_blockmigrate.db.models import Instance, Port


def matching(pattern: str) -> sa.ColumnElement[bool]:
    """Servers with an address that a regular expression is found in, whoever owns their ports."""
    return sa.or_(
        Instance.id.in_(sa.select(Port.instance_id).where(Port.ip_address.regexp_match(pattern))),
        _InNetworkInfo(Instance.network_info, sa.literal(pattern)),
        _InAdopted(Instance.adopted, sa.literal(pattern)),
    )


class _AddressInJson(FunctionElement[bool]):
    """EXISTS an address in a column (the first clause) in which a pattern (the second) is found."""

    type = sa.Boolean()
    inherit_cache = True
    rows: str
    """The path to the objects that have one address each, in SQL's words for JSON."""
    key: str
    sqlite_rows: str
    """The same in SQLite's words, which unfold one list at a time."""


class _InNetworkInfo(_AddressInJson):
    """`objects.NetworkPort`s."""

    name = "in_network_info"
    inherit_cache = True
    rows, key = "$[*].fixed_ips[*]", "ip_address"
    sqlite_rows = "json_each({column}) AS port, json_each(port.value, '$.fixed_ips') AS found"


class _InAdopted(_AddressInJson):
    """What was known of a guest when it was adopted."""

    name = "in_adopted"
    inherit_cache = True
    rows, key = "$.addresses[*]", "address"
    sqlite_rows = "json_each({column}, '$.addresses') AS found"


def _words(element: _AddressInJson, compiling: Any, options: dict[str, Any]) -> tuple[str, str]:
    column, pattern = element.clauses
    return compiling.process(column, **options), compiling.process(pattern, **options)


@compiler.compiles(_AddressInJson, "sqlite")
def _sqlite(element: _AddressInJson, compiling: Any, **options: Any) -> str:
    column, pattern = _words(element, compiling, options)
    address = f"json_extract(found.value, '$.{element.key}')"
    each = element.sqlite_rows.format(column=column)
    return f"EXISTS (SELECT 1 FROM {each} WHERE {address} REGEXP {pattern})"  # noqa: S608 - bound


@compiler.compiles(_AddressInJson, "postgresql")
def _postgresql(element: _AddressInJson, compiling: Any, **options: Any) -> str:
    column, pattern = _words(element, compiling, options)
    each = f"jsonb_path_query(CAST({column} AS jsonb), '{element.rows}.{element.key}')"
    return f"EXISTS (SELECT 1 FROM {each} AS found(address) WHERE found.address #>> '{{}}' ~ {pattern})"  # noqa: S608 - bound


@compiler.compiles(_AddressInJson, "mysql")
@compiler.compiles(_AddressInJson, "mariadb")
def _mariadb(element: _AddressInJson, compiling: Any, **options: Any) -> str:
    column, pattern = _words(element, compiling, options)
    each = f"JSON_TABLE({column}, '{element.rows}' COLUMNS (address VARCHAR(64) PATH '$.{element.key}'))"
    return f"EXISTS (SELECT 1 FROM {each} AS found WHERE found.address REGEXP {pattern})"  # noqa: S608 - bound
