"""Brings up a laboratory with a real Keystone and a real Glance, once for all tests of this folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.conftest import boot, client, pytest_runtest_makereport  # noqa: F401 - fixtures and hook of the laboratory
from tests.laboratory import laboratory, limit_time

TIME_LIMIT_S = 600


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    from labkit import keystone, seed

    with laboratory(keystone=True, glance=True) as lab:
        seed.allow_tests_in(lab.layout, keystone.project_id(lab.layout, seed.token_of(lab.layout), "admin"))
        yield lab


class Images:
    """What tests ask of Glance, as the administrator."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self._made: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        from labkit import glance, seed

        return glance.ask(self._lab.layout, seed.token_of(self._lab.layout), method, path, body)

    def make(self, name: str, file: pathlib.Path, **values: Any) -> str:
        from labkit import glance, seed

        self._made.append(glance.make_image(self._lab.layout, seed.token_of(self._lab.layout), name, file, **values))
        return self._made[-1]

    def delete(self, image_id: str) -> None:
        self.ask("DELETE", f"/images/{image_id}")
        self._made.remove(image_id)

    def clear(self) -> None:
        for image_id in list(self._made):
            self.delete(image_id)


@pytest.fixture
def images(lab: Any) -> Iterator[Images]:
    images = Images(lab)
    yield images
    images.clear()


@pytest.fixture
def doomed(images: Images, boot: Callable[..., Any]) -> str:  # noqa: F811
    """An image of the guest's own, other than that of all others; its id."""
    from labkit import guest_image

    return images.make("doomed", guest_image.ensure_image())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    limit_time(items, pathlib.Path(__file__).parent, TIME_LIMIT_S)
