"""The parameters of a URL, and numbers as text."""

from __future__ import annotations

import datetime
import urllib.parse
from collections.abc import Iterable, Mapping

from oslo_utils import strutils, timeutils, uuidutils

from nova_blockmigrate import exceptions

LARGEST = 2**31 - 1
"""What the INTEGER of every database holds."""


def number(text: str) -> int | None:
    """The number that `text` is in decimal digits; None when it is none, or larger than any that we know."""
    digits = text.lstrip("0") or text[-1:]
    if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(LARGEST)):
        return None
    return int(digits) if int(digits) <= LARGEST else None


def refuse_unless_uuid(text: str) -> None:
    """
    :raises exceptions.ValidationError:
    """
    if not uuidutils.is_uuid_like(text):
        raise exceptions.ValidationError(detail=f"{text[:80]!r} is no uuid")


class Query:
    """The parameters of the URL. Each getter checks its form."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def of(cls, query_string: str) -> Query:
        """
        :raises exceptions.ValidationError: it has a NUL, which PostgreSQL has no text for.
        """
        values = urllib.parse.parse_qs(query_string, keep_blank_values=True)
        for name, texts in values.items():
            if any("\x00" in text for text in (name, *texts)):
                raise exceptions.ValidationError(detail=f"query parameter {name!r}: there is no character NUL")
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> Iterable[str]:
        return self._values.keys()

    def texts(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def text(self, name: str) -> str | None:
        """The last value given."""
        return self._values[name][-1] if self._values.get(name) else None

    def boolean(self, name: str) -> bool | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return True if text == "" else strutils.bool_from_string(text, strict=True)
        except ValueError as error:
            raise exceptions.ValidationError(detail=f"query parameter {name}: {error}") from error

    def integer(self, name: str, minimum: int = 0) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        value = number(text)
        if value is None or value < minimum:
            detail = f"query parameter {name}: {text[:40]!r} is not a number from {minimum} to {LARGEST}"
            raise exceptions.ValidationError(detail=detail)
        return value

    def time(self, name: str) -> datetime.datetime | None:
        """An ISO 8601 time as UTC."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return timeutils.normalize_time(timeutils.parse_isotime(text.replace(" ", "+")))
        except (ValueError, OverflowError) as error:
            raise exceptions.ValidationError(detail=f"query parameter {name}: {text!r} is not an ISO 8601 time") from error

    def changes(self, since: bool, before: bool) -> tuple[datetime.datetime | None, datetime.datetime | None]:
        """changes-since and changes-before, as far as they are known in the microversion.

        :raises exceptions.ValidationError: there is no time between them.
        """
        first = self.time("changes-since") if since else None
        last = self.time("changes-before") if before else None
        if first and last and last < first:
            raise exceptions.ValidationError(detail="changes-since must not be later than changes-before")
        return first, last
