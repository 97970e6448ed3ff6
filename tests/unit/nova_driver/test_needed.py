"""A Nova that is not as it is needed is refused, with what differs."""

from __future__ import annotations

import ast
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from nova_blockmigrate.nova_driver import needed


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **more: Any) -> Any:
        return function(*arguments, **more)

    return wrapper


class Driver:
    def moved(self, context: Any, instance: Any) -> None: ...

    @decorated
    def wrapped(self, context: Any) -> None: ...

    @staticmethod
    def static(dest: str) -> None: ...


@pytest.mark.parametrize("version", ["34.0.0", "34.1.2"])
def test_known_version_is_taken(version: str) -> None:
    assert needed.problem_of_version(version) == ""


@pytest.mark.parametrize("version", ["33.0.1", "35.0.0", "3.4"])
def test_unknown_version_is_refused_with_the_way_back(version: str) -> None:
    problem = needed.problem_of_version(version)
    assert version in problem
    assert "libvirt.LibvirtDriver" in problem


def test_methods_as_they_are_needed() -> None:
    assert needed.problems(Driver, {"moved": "context instance", "wrapped": "context", "static": "dest"}) == []


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"moved": "context instance dest"}, "Driver.moved takes (context, instance), not (context, instance, dest)"),
        ({"wrapped": "ctxt"}, "Driver.wrapped takes (context), not (ctxt)"),
        ({"gone": "context"}, "Driver.gone is missing"),
    ],
)
def test_what_differs_is_told(methods: dict[str, str], words: str) -> None:
    assert needed.problems(Driver, methods) == [words]


def test_names_that_are_missing_are_told() -> None:
    assert needed.missing(Driver, ["moved", "gone"]) == ["Driver.gone is missing"]
    assert needed.missing({"filename": 1}, ["filename", "migration"]) == ["dict.migration is missing"]


def used_names(source: str) -> set[str]:
    """What a module of ours takes from Nova's: "nova.exception.InstanceNotFound"."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    used = {f"{known[top]}.{name}" for node in ast.walk(tree) if (name := taken(node)[1]) and (top := taken(node)[0]) in known}
    whole = {f"nova.{dotted}" for node in ast.walk(tree) if (dotted := taken_from_package(node))}
    return {name for name in used | whole if name.startswith("nova.")}


def taken(node: ast.AST) -> tuple[str, str]:
    """(module as it is called there, name)"""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return "", ""


def taken_from_package(node: ast.AST) -> str:
    """ "conf.CONF" of "nova.conf.CONF"."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and taken(node.value)[0] == "nova":
        return f"{node.value.attr}.{node.attr}"
    return ""


def test_every_name_of_novas_that_is_used_is_listed() -> None:
    listed = {f"{module}.{name}" for module, names in needed.NAMES.items() for name in names.split()}
    folder = pathlib.Path(needed.__file__).parent
    used = {name for path in folder.glob("*.py") for name in used_names(path.read_text())}
    assert used == listed
