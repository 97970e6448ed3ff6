"""How values become dictionaries and lists at RPC, JSON and SQL, and values again."""

from __future__ import annotations

from typing import Any, TypeVar

import cattrs

T = TypeVar("T")


_converter = cattrs.Converter(prefer_attrib_converters=False)


def to_primitive(value: Any) -> Any:
    """`value` (a dataclass of this module, or a container of them) as what JSON can carry."""
    return _converter.unstructure(value)


def from_primitive(cls: type[T], data: Any) -> T:
    """The inverse of `to_primitive`; keys that this version does not know are left out (rolling upgrades)."""
    return _converter.structure(data, cls)
