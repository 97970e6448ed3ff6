"""Which of Nova's tests are about live migration.

Of the modules below, each test whose id names live migration, or whose code does: that of the test itself, and of its class's
`setUp`. Functional tests must use the libvirt driver, so derive from one of the bases below.
"""

import inspect
import re
import unittest
from collections.abc import Iterator

UNIT = ("nova.tests.unit.virt.libvirt.test_driver", "nova.tests.unit.virt.libvirt.test_migration")
FUNCTIONAL = "nova.tests.functional.libvirt"
REGRESSIONS = "nova.tests.functional.regressions"
BASES = ("nova.tests.functional.libvirt.base.ServersTestBase",)
_WORDS = re.compile(r"live_?-?migrat", re.IGNORECASE)
OURS = "own_tests"
"""Tests of our own, below this folder; all of them run."""


def chosen() -> Iterator[unittest.TestCase]:
    loader = unittest.TestLoader()
    for module in (*UNIT, *_modules(FUNCTIONAL), *_modules(REGRESSIONS)):
        for test in _flat(loader.loadTestsFromName(module)):
            if (module in UNIT or _uses_libvirt(test)) and _is_about_it(test):
                yield test


def own(folder: str) -> Iterator[unittest.TestCase]:
    """Tests of our own that need Nova's objects."""
    yield from _flat(unittest.TestLoader().discover(folder, top_level_dir=folder))


def _modules(package: str) -> Iterator[str]:
    import importlib
    import pkgutil

    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if found.name.startswith("test_"):
            yield f"{package}.{found.name}"


def _flat(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestCase):
        yield suite
        return
    for each in suite:
        yield from _flat(each)


def _uses_libvirt(test: unittest.TestCase) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" in BASES for base in type(test).__mro__)


def _is_about_it(test: unittest.TestCase) -> bool:
    return bool(_WORDS.search(test.id()) or any(_WORDS.search(text) for text in _sources(test)))


def _sources(test: unittest.TestCase) -> Iterator[str]:
    method = inspect.unwrap(getattr(type(test), test._testMethodName))
    yield inspect.getsource(method)
