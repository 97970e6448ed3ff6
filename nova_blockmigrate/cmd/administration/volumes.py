"""volume create, list, show, set, delete: of the embedded volume backend, on the host that keeps them."""

from __future__ import annotations

import argparse
import uuid as uuids
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.volume.api import Volume
from nova_blockmigrate.volume.embedded import EmbeddedBackend

_COLUMNS = ("id", "name", "size_gib", "project_id", "hosts")


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("volume", help="embedded volumes").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make an empty volume and print its id")
    create.add_argument("--name", required=True)
    create.add_argument("--size-gib", type=int, required=True)
    create.add_argument("--project", default="", help="id of the project whose it is; without one only administrators attach it")
    create.add_argument("--id", type=_uuid, help="default: a random one")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list volumes, with the hosts that may use them")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    show = verbs.add_parser("show", help="show a volume")
    show.add_argument("volume", help="name or id")
    output.add_json_option(show)
    show.set_defaults(run=_show)
    change = verbs.add_parser("set", help="give a volume to another project")
    change.add_argument("--project", required=True, help='id of the project; "": nobody\'s, for administrators only')
    change.add_argument("volume", help="name or id")
    change.set_defaults(run=_set)
    delete = verbs.add_parser("delete", help="delete a volume that no server has, with all its bytes")
    delete.add_argument("volume", help="name or id")
    delete.set_defaults(run=_delete)


def _uuid(text: str) -> str:
    return str(uuids.UUID(text))


def _backend(conf: cfg.ConfigOpts) -> EmbeddedBackend:
    if conf.volume.backend != "embedded":
        raise exceptions.Invalid(f"Volumes are kept by {conf.volume.backend} ([volume] backend): use its own commands.")
    return EmbeddedBackend(conf)


def _find(backend: EmbeddedBackend, named: str) -> Volume:
    found = [volume for volume in backend.search() if named in (volume.name, volume.id)]
    if not found:
        raise exceptions.VolumeNotFound(volume_id=named)
    return found[0]


def _record(backend: EmbeddedBackend, volume: Volume) -> dict[str, Any]:
    return {
        "id": volume.id,
        "name": volume.name,
        "size_gib": volume.size_gib,
        "project_id": volume.project_id,
        "hosts": backend.hosts(volume.id),
    }


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    if arguments.size_gib < 1:
        raise exceptions.ValidationError(detail="--size-gib must be 1 or more")
    print(_backend(conf).create(arguments.name, arguments.size_gib, arguments.id or "", arguments.project).id)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    backend = _backend(conf)
    output.show([_record(backend, volume) for volume in backend.search()], _COLUMNS, arguments.json)


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    backend = _backend(conf)
    output.show([_record(backend, _find(backend, arguments.volume))], _COLUMNS, arguments.json)


def _set(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    backend = _backend(conf)
    backend.give_to(_find(backend, arguments.volume).id, arguments.project)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    backend = _backend(conf)
    backend.delete_volume(_find(backend, arguments.volume).id)
