"""The page of microversions says what the code does."""

from __future__ import annotations

import pathlib

from nova_blockmigrate.api import history, microversions


def test_every_microversion_is_in_the_table() -> None:
    assert list(history.MEANINGS) == list(range(microversions.MINIMUM, microversions.MAXIMUM + 1))


def test_what_changes_in_the_code_is_said_to_change() -> None:
    silent = {minor: names for minor, names in history.turning_points().items() if history.MEANINGS[minor] == history.NOTHING}
    assert silent == {}


def test_the_page_is_current() -> None:
    page = pathlib.Path(__file__).parents[3] / "doc/microversions.rst"
    assert page.read_text() == history.document(), "run `python -m nova_blockmigrate.api.history > doc/microversions.rst`"
