"""Bringing a guest's unchanging files (bases, media, kernels) to this host: from the image service, or from the source.

One that is here already is used, however many guests need it; two migrations that need the same one bring it once.
"""

from __future__ import annotations

import contextlib
import os

from oslo_log import log

from nova_blockmigrate.exceptions import ImageNotFound, StorageError
from nova_blockmigrate.image import cache
from nova_blockmigrate.image.cache import BaseImages
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.objects import Artefact, DiskLayer, ImageRef
from nova_blockmigrate.virt.driver import BASE, FetchBase, Ledger
from nova_blockmigrate.virt.libvirt import placing
from nova_blockmigrate.virt.libvirt.placing import Place
from nova_blockmigrate.virt.libvirt.unmake import clear_scratch, scratch_beside

LOG = log.getLogger(__name__)


class Bringing:
    """Brings files for one migration, and lists them in its ledger."""

    def __init__(self, host: str, images: BaseImages, manifests: Manifests, ledger: Ledger, fetch: FetchBase) -> None:
        self._host, self._images, self._manifests = host, images, manifests
        self._ledger, self._fetch = ledger, fetch

    def bring(self, layer: DiskLayer, image: ImageRef | None, may_move: bool) -> Place:
        """See that the bytes of `layer` are here, under its own name or (`may_move`) beside a namesake with other bytes.

        :raises StorageError: they cannot be brought, or have no place.
        """
        if place := self._from_image(layer, image):
            return place
        for path in placing.names(layer, may_move):
            with cache.making(path):
                if not os.path.lexists(path):
                    with self._ledger.entry(BASE, path), scratch_beside(self._ledger, path):
                        return Place(path, is_there=True, bytes_brought=self._fetch(layer.path, layer.sha256, path))
                if placing.holds(path, layer, self._manifests, self._host):
                    clear_scratch(self._ledger, path)
                    self._share(path)
                    return Place(path, is_there=True)
        raise StorageError(
            host=self._host,
            action=f"place {layer.path}",
            reason="a file with other bytes has that name here, and the guest needs it under that name: move that file away",
        )

    def bring_now(self, layer: DiskLayer) -> bool:
        """Bring a file that may be written to; whether it still was what `layer` says of it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(layer.path)
        try:
            with scratch_beside(self._ledger, layer.path):
                self._fetch(layer.path, layer.sha256, layer.path)
        except StorageError:
            clear_scratch(self._ledger, layer.path)
            return False
        return True

    def _share(self, path: str) -> None:
        """A file that was brought for another guest, or lies in the cache, stays as long as this one needs it, too."""
        if cache.is_cached(path) or self._ledger.is_shared(Artefact(BASE, path)):
            with self._ledger.entry(BASE, path):
                pass

    def _from_image(self, layer: DiskLayer, image: ImageRef | None) -> Place | None:
        """The base of the server's own image is made from that, if the image service still has it and that gives its bytes."""
        if image is None or layer.path != self._images.path_of(image) or os.path.lexists(layer.path):
            return None
        with self._ledger.entry(BASE, layer.path), scratch_beside(self._ledger, layer.path):
            try:
                self._images.base_for(image)
            except (ImageNotFound, StorageError) as error:
                LOG.warning("The base of image %s is brought from the source: %s", image.id, error.message)
        if not placing.holds(layer.path, layer, self._manifests, self._host):
            return None
        return Place(layer.path, is_there=True, bytes_brought=os.stat(layer.path).st_blocks * 512)
