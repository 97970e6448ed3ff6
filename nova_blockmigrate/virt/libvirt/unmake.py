"""Unmaking what a ledger lists, newest first: the only place where anything of a guest is deleted.

What a ledger does not list was made by somebody else and stays; where it stands in the way of a directory, that stays, too,
and is told. Each kind of artefact has one remover; a thing that is gone already is fine, so all may be done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError, StorageError
from nova_blockmigrate.image import cache
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.network.plumbing import VIF, Plumbing
from nova_blockmigrate.objects import Artefact, Server
from nova_blockmigrate.virt.driver import BASE, Ledger
from nova_blockmigrate.virt.libvirt import in_use, volume_access
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess

DIRECTORY, FILE, DOMAIN = "directory", "file", "domain"
SCRATCH = "scratch"
"""What lies beside a file while it is made or brought; named by that file."""
ADOPTED = "adopted"
"""A file that an adopted guest wrote to: an administrator made it, and may have built others on it meanwhile."""
directories_change = native.threading.Lock()
"""Held while a directory is looked for and made, or removed: two guests may have the same one."""


@dataclasses.dataclass(frozen=True)
class Site:
    """Where something is unmade, and of whom."""

    host: Host
    plumbing: Plumbing
    server: Server
    ledger: Ledger
    access: VolumeAccess | None = None
    """Where there are volumes."""
    manifests: Manifests | None = None
    """Where hashes of its files may be noted."""


Remover = Callable[[Site, str], str]
"""(site, the artefact's name) -> what was left of it and why, in words; empty when nothing was."""


def unmake(site: Site) -> tuple[str, ...]:
    """Undo what the ledger lists, newest first. Each is tried; the first that fails is raised at the end.

    Returns what was left, in words.
    :raises BlockMigrateError: something that should go could not be removed; it stays listed.
    """
    left: list[str] = []
    failure: BlockMigrateError | None = None
    for artefact in reversed(site.ledger.artefacts()):
        try:
            left.append(REMOVERS[artefact.kind](site, artefact.name) if artefact.kind in REMOVERS else "")
            site.ledger.forget(artefact)
        except OSError as error:
            action = f"remove {artefact.name}"
            failure = failure or StorageError(host=site.host.name, action=action, reason=str(error))
        except BlockMigrateError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return tuple(words for words in left if words)


@contextlib.contextmanager
def scratch_beside(ledger: Ledger, path: str) -> Iterator[None]:
    """Around the making of a file. What lies beside it stays listed when that fails: another try may go on with it."""
    with ledger.entry(SCRATCH, path):
        yield
    ledger.forget(Artefact(SCRATCH, path))


def _remove_file(site: Site, name: str) -> str:
    _unlink(name)
    if site.manifests is not None:
        site.manifests.forget(name)
    return ""


def clear_scratch(ledger: Ledger, path: str) -> None:
    """A file is there whole: nothing beside it is needed, if a crash left something. The caller holds `cache.making(path)`."""
    if Artefact(SCRATCH, path) in ledger.artefacts():
        _unlink_scratch(path)
        ledger.forget(Artefact(SCRATCH, path))


def _remove_scratch(site: Site, name: str) -> str:
    if os.path.isdir(os.path.dirname(name)):
        with cache.making(name):
            _unlink_scratch(name)
    return ""


def _unlink_scratch(name: str) -> None:
    for path in cache.scratch_names(name):
        _unlink(path)


def _remove_directory(site: Site, name: str) -> str:
    """A directory that we made; with what others have put into it, it stays."""
    with directories_change:
        if site.ledger.is_shared(Artefact(DIRECTORY, name)):
            return ""  # it goes with the last of those who use it
        try:
            os.rmdir(name)
        except FileNotFoundError:
            pass
        except OSError:
            if not os.path.isdir(name) or not (foreign := os.listdir(name)):
                raise
            held = ", ".join(sorted(foreign))
            return f"{name} stays on {site.host.name}, as it holds what nova-blockmigrate did not make: {held}"
    return ""


def _remove_base(site: Site, name: str) -> str:
    """A file that was brought here, unless another guest of this host uses it. Those in the cache of base images stay there."""
    if not os.path.isdir(os.path.dirname(name)):
        return ""
    with cache.making(name):
        if cache.is_cached(name) or site.ledger.is_shared(Artefact(BASE, name)) or not os.path.exists(name):
            return ""
        if users := in_use.users_of(site.host, name, but=site.server.uuid):
            return f"{name} stays on {site.host.name}: {users}"
        _remove_file(site, name)
    return ""


def _remove_adopted(site: Site, name: str) -> str:
    if os.path.exists(name) and (users := in_use.users_of(site.host, name, but=site.server.uuid)):
        return f"{name} stays on {site.host.name}: {users}"
    return _remove_file(site, name)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_vif(site: Site, name: str) -> str:
    site.plumbing.release(name)
    return ""


def _remove_access(kind: str) -> Remover:
    """For what guests had of volumes."""

    def remove(site: Site, name: str) -> str:
        assert site.access is not None  # noqa: S101 - who lists it gives it
        site.access.remove(Artefact(kind, name), site.ledger)
        return ""

    return remove


REMOVERS: dict[str, Remover] = {
    FILE: _remove_file,
    DIRECTORY: _remove_directory,
    BASE: _remove_base,
    SCRATCH: _remove_scratch,
    ADOPTED: _remove_adopted,
    **{kind: _remove_access(kind) for kind in (volume_access.SECRET, volume_access.BRICK, volume_access.MOUNT)},
    VIF: _remove_vif,
}
"""How artefacts of each kind are unmade. The domain, which has none, goes before all of them."""
