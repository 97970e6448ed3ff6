"""Microversions of the compute API: 2.1 to 2.96. A handler sees the N of 2.N."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from nova_blockmigrate import exceptions

T = TypeVar("T")

MINIMUM = 1
MAXIMUM = 96
HEADER = "OpenStack-API-Version"
LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_FORM = re.compile(r"(\d+)\.(0|[1-9]\d*)")


class InvalidMicroversion(exceptions.Invalid):
    template = "API version {text!r} is malformed: it must look like 2.{maximum}, or be 'latest'."


class MicroversionNotSupported(exceptions.BlockMigrateError):
    code = 406
    template = "Version {version} is not supported by the API. Minimum is 2.{minimum} and maximum is 2.{maximum}."


def requested(header: str | None, legacy_header: str | None) -> int:
    """The microversion that a request asks for by its headers; 1 when it does not say.

    :raises InvalidMicroversion:
    :raises MicroversionNotSupported:
    """
    text = _for_compute(header) or (legacy_header or "").strip()
    return parse(text) if text else MINIMUM


def parse(text: str) -> int:
    if text.lower() == "latest":
        return MAXIMUM
    match = _FORM.fullmatch(text)
    if not match:
        raise InvalidMicroversion(text=text, maximum=MAXIMUM)
    major, minor = int(match[1]), int(match[2])
    if major != 2 or not MINIMUM <= minor <= MAXIMUM:
        raise MicroversionNotSupported(version=text, minimum=MINIMUM, maximum=MAXIMUM)
    return minor


def headers(minor: int) -> dict[str, str]:
    """What an answer says of the microversion that it follows."""
    return {HEADER: f"compute 2.{minor}", LEGACY_HEADER: f"2.{minor}", "Vary": f"{HEADER}, {LEGACY_HEADER}"}


def _for_compute(header: str | None) -> str:
    """`compute 2.10` out of a list such as `identity 3.0, compute 2.10`."""
    for part in (header or "").split(","):
        words = part.split()
        if len(words) == 2 and words[0].lower() == "compute":
            return words[1]
    return ""


class Versioned(Generic[T]):
    """A value that changed with microversions: each counts from its own on, until the next."""

    def __init__(self, by_minimum: Mapping[int, T]) -> None:
        self._by_minimum = sorted(by_minimum.items(), reverse=True)

    def at(self, minor: int) -> T:
        return next(value for minimum, value in self._by_minimum if minimum <= minor)

    @property
    def turns(self) -> tuple[int, ...]:
        """The microversions from which a value counts, the first one first."""
        return tuple(sorted(minimum for minimum, _ in self._by_minimum))
