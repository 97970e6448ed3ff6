"""A file on its way to this host, and on disk beside it which parts of it are whole: cut off anywhere, bringing it goes on there.

One file holds the bytes (`cache.PART_SUFFIX`), another (`cache.NOTES_SUFFIX`) a line for each part that is on stable storage, and
before them what the whole is to be. Notes about another file, or without theirs, are worth nothing: then it begins anew. Bytes
without notes are somebody else's, as notes come first. Whether all of it is right is for the hash of the whole to say, and not
for the notes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from nova_blockmigrate.image.cache import NOTES_SUFFIX, PART_SUFFIX, sync

SECTOR = 512


@dataclasses.dataclass(frozen=True, order=True)
class Range:
    """Bytes of a file."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


def ranges_of(extents: Iterable[tuple[int, int, bool]], most_bytes: int) -> Iterator[Range]:
    """What has to be brought of a file, in order, each at most `most_bytes` long (pure). `extents`: (start, length, whether there
    is anything but zeros). Those with less than an eighth of that between them are one; all begin and end with a sector."""
    begin = end = 0
    for start, length, is_data in extents:
        if not is_data:
            continue
        first, after = max(start // SECTOR * SECTOR, end), -(-(start + length) // SECTOR) * SECTOR
        if first - end > most_bytes // 8 or after - begin > most_bytes:
            if end > begin:
                yield Range(begin, end - begin)
            begin = first
        end = after
        while end - begin > most_bytes:
            yield Range(begin, most_bytes)
            begin += most_bytes
    if end > begin:
        yield Range(begin, end - begin)


class Partial:
    """The file at `path` as far as it is here."""

    def __init__(self, path: str, sha256: str, size_bytes: int) -> None:
        self.part = path + PART_SUFFIX
        self._path, self._notes = path, path + NOTES_SUFFIX
        self._whole = {"sha256": sha256, "size": size_bytes}
        self._size_bytes = size_bytes

    def begin(self) -> frozenset[Range]:
        """Have the file there, and say what of it is whole already.

        :raises FileExistsError: there is a file of its name that none of ours has made.
        """
        whole, done = self._read_notes()
        if os.path.lexists(self.part):
            if whole == self._whole:
                return done
            if not whole:
                raise FileExistsError(errno.EEXIST, "a file of that name exists already: move it away", self.part)
        self.drop()
        self._append(self._whole)
        sync(os.path.dirname(self._path))
        with open(self.part, "xb") as file:
            file.truncate(-(-self._size_bytes // SECTOR) * SECTOR)  # QEMU counts in sectors
        return frozenset()

    def note(self, whole: Range) -> None:
        """A part is there: on disk first, then in the notes."""
        sync(self.part)
        self._append([whole.start, whole.length])

    def cut(self) -> None:
        """All of it is there: give it its length."""
        os.truncate(self.part, self._size_bytes)
        sync(self.part)

    def finish(self) -> None:
        """It is right: give it its name."""
        os.replace(self.part, self._path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._notes)
        sync(os.path.dirname(self._path))

    def drop(self) -> None:
        for path in (self.part, self._notes):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _read_notes(self) -> tuple[dict[str, Any], frozenset[Range]]:
        """What file they are about, and what of it is whole; nothing where there are none. What follows the last newline was
        cut off."""
        try:
            with open(self._notes, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return {}, frozenset()
        try:
            first, *others = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
            done = frozenset(Range(start, length) for start, length in others)
            if first.keys() != self._whole.keys():
                return {}, frozenset()
        except (ValueError, TypeError, AttributeError):
            return {}, frozenset()
        os.truncate(self._notes, content.rfind(b"\n") + 1)
        return first, done

    def _append(self, value: object) -> None:
        with open(self._notes, "ab") as file:
            file.write(json.dumps(value).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
