"""The laboratory of tests/lab, with real services of OpenStack beside ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.conftest import boot, client, lab, pytest_runtest_makereport  # noqa: F401 - fixtures and hook of the laboratory


@pytest.fixture(scope="session")
def cinder(lab: Any) -> Any:  # noqa: F811
    """A real Cinder that our conductor uses (`labkit.cinder`)."""
    from labkit import cinder

    cinder.start(lab)
    cinder.configure_conductor(lab)
    return cinder
