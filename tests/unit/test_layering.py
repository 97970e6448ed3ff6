"""Imports point one way: api → conductor.rpcapi → conductor → compute.rpcapi → compute → virt → network, volume, image."""

from __future__ import annotations

import ast
import graphlib
import pathlib

import pytest

PACKAGE = "nova_blockmigrate"
ROOT = pathlib.Path(__file__).parents[2] / PACKAGE

FOUNDATION = ("objects", "exceptions", "conf", "survey")
"""Imported by all, importing nobody of us but each other."""
LOCAL = ("virt", "network", "volume", "image")
"""Values in, values out: what belongs to a host and knows nothing of services."""
PLUMBING = (*FOUNDATION, "breakpoints", "concurrency", "threads", "processes", "attendant", "context")

ALLOWED: dict[str, tuple[str, ...]] = {
    "objects": (),
    "exceptions": (),
    "survey": (),
    "conf": ("objects", "exceptions"),
    "breakpoints": ("concurrency",),
    "concurrency": (),
    "threads": ("concurrency",),
    "processes": ("concurrency",),
    "attendant": ("concurrency",),
    "context": (),
    "policies": PLUMBING,
    "rpc": PLUMBING,
    "db": PLUMBING,
    "notifications": (*PLUMBING, "rpc", "db"),
    "network": PLUMBING,
    "volume": PLUMBING,
    "image": PLUMBING,
    "virt": (*PLUMBING, "network", "volume", "image"),
    "compute": (*PLUMBING, "rpc", "virt", "conductor.rpcapi", "network.backend"),
    "conductor": (*PLUMBING, "rpc", "db", "compute.rpcapi", "volume", "network.backend", "notifications"),
    "api": (
        *PLUMBING,
        "rpc",
        "db",
        "policies",
        "conductor.rpcapi",
        "compute.rpcapi",
        "network.backend",
        "notifications",
        "image.glance",
        "image.formats",
    ),
    "nova_driver": (*PLUMBING, "compute.ledger", "compute.transfers", "compute.watcher", "virt", "image"),
    "cmd": (*PLUMBING, "rpc", "db", "policies", "compute", "conductor", "api", "virt", "image", "network", "volume"),
    "wsgi": (*PLUMBING, "db", "api"),
}
"""What each part may import, besides itself. compute reports to the conductor through its rpcapi, and only through
that. The conductor asks volume backends who may use what; how a host connects is virt's."""

MODULES = sorted(path for path in ROOT.rglob("*.py"))


def imports_of(path: pathlib.Path) -> set[str]:
    """Full names of the modules (or names in them) that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: pathlib.Path) -> set[str]:
    """What a module imports of our package, without the package's name."""
    return {name.removeprefix(f"{PACKAGE}.") for name in imports_of(path) if name.startswith(f"{PACKAGE}.")}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def is_allowed(imported: str, part: str) -> bool:
    return any(imported == each or imported.startswith(f"{each}.") for each in (part, *ALLOWED[part]))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_what_lies_below_it(path: pathlib.Path) -> None:
    part = part_of(path)
    if part == "__init__":
        assert not ours(path)
        return
    assert part in ALLOWED, f"say in this test what {part} may import"
    assert [name for name in sorted(ours(path)) if not is_allowed(name, part)] == []


def module_of(name: str) -> str | None:
    """The module that `name` (of ours, without the package's) is, or is in."""
    while name:
        path = ROOT.joinpath(*name.split("."))
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return name
        name = name.rpartition(".")[0]
    return None


def test_no_modules_import_each_other_in_a_circle() -> None:
    circle = graphlib.TopologicalSorter[str | None]()
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        circle.add(name, *({module_of(each) for each in ours(path)} - {None, name}))
    circle.prepare()  # (names the circle that it finds)


def test_only_one_module_knows_eventlet() -> None:
    knowing = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(name == "eventlet" or name.startswith("eventlet.") for name in imports_of(path))
    }
    assert knowing == {"concurrency.py"}


def test_rules_hold_for_what_design_forbids() -> None:
    assert not is_allowed("db.models", "compute")
    assert not is_allowed("conductor.manager", "api")
    assert not is_allowed("compute.manager", "conductor")
    assert not any(is_allowed(name, part) for part in LOCAL for name in ("rpc.client", "db.session", "compute.manager"))
