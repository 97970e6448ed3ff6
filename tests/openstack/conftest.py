"""A laboratory with a real Keystone and a real Cinder, once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.conftest import boot, client, pytest_runtest_makereport, slow  # noqa: F401 - fixtures and hook of the laboratory
from tests.laboratory import laboratory


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    from labkit import keystone, seed

    with laboratory(keystone=True) as lab:
        seed.allow_tests_in(lab.layout, keystone.project_id(lab.layout, seed.token_of(lab.layout), "admin"))
        yield lab


@pytest.fixture(scope="session")
def cinder(lab: Any) -> Any:
    """A real Cinder that our conductor uses (`labkit.cinder`)."""
    from labkit import cinder

    cinder.start(lab)
    cinder.configure_conductor(lab)
    return cinder
