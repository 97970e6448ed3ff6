"""image create, image list, image delete: of the embedded image source."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pathlib
import tempfile
import uuid as uuids
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import images

_COLUMNS = ("id", "name", "disk_format", "size_bytes", "sha256")
_BLOCK = 4 * 2**20
_QCOW2_MAGIC = b"QFI\xfb"


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("image", help="embedded images").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="copy a file into the image directory and print the image's id")
    create.add_argument("--name", required=True)
    create.add_argument("--disk-format", choices=("raw", "qcow2"), required=True)
    create.add_argument("--file", type=pathlib.Path, required=True)
    create.add_argument("--id", type=_uuid, help="default: a random one")
    create.add_argument("--min-disk", type=int, default=0, help="GiB that a flavor must have")
    create.add_argument("--min-ram", type=int, default=0, help="MiB that a flavor must have")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list images")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="delete an image and its file; hosts keep the copies that servers need")
    delete.add_argument("image", help="name or id")
    delete.set_defaults(run=_delete)


def _uuid(text: str) -> str:
    return str(uuids.UUID(text))


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    """The row is written before the file gets its name: an id or name that is taken leaves nothing behind."""
    source: pathlib.Path = arguments.file
    _check_format(source, arguments.disk_format)
    directory = pathlib.Path(conf.image.local_directory)
    directory.mkdir(parents=True, exist_ok=True)
    session.configure(conf)
    with _copied(source, directory) as (copy, size_bytes, sha256), session.writer() as db:
        image = images.create(
            db,
            id=arguments.id,
            name=arguments.name,
            disk_format=arguments.disk_format,
            size_bytes=size_bytes,
            sha256=sha256,
            min_disk_gib=arguments.min_disk,
            min_ram_mib=arguments.min_ram,
        )
        os.replace(copy, directory / image.id)
    print(image.id)


def _check_format(source: pathlib.Path, disk_format: str) -> None:
    """
    :raises exceptions.ValidationError: the file says otherwise.
    """
    with source.open("rb") as file:
        is_qcow2 = file.read(4) == _QCOW2_MAGIC
    if is_qcow2 != (disk_format == "qcow2"):
        found = "a qcow2 image" if is_qcow2 else "not a qcow2 image"
        raise exceptions.ValidationError(detail=f"{source} is {found}: give the right --disk-format")


@contextlib.contextmanager
def _copied(source: pathlib.Path, directory: pathlib.Path) -> Any:
    """A copy on stable storage under a name of its own, with its size and hash. Holes stay holes."""
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=".incoming-")
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
            while block := original.read(_BLOCK):
                digest.update(block)
                size += len(block)
                if block.count(0) == len(block):
                    copy.seek(len(block), os.SEEK_CUR)
                else:
                    copy.write(block)
            copy.truncate(size)
            copy.flush()
            os.fsync(copy.fileno())
        os.chmod(name, 0o644)
        yield name, size, digest.hexdigest()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.reader() as db:
        records = [{name: getattr(image, name) for name in _COLUMNS} for image in images.search(db)]
    output.show(records, _COLUMNS, arguments.json)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        named = images.search(db, name=arguments.image)
        image_id = named[0].id if named else arguments.image
        images.delete(db, image_id)
    pathlib.Path(conf.image.local_directory, image_id).unlink(missing_ok=True)
