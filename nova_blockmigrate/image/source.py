"""Where images come from: a local directory with a file for each image, named by its id."""

from __future__ import annotations

import os

from nova_blockmigrate.exceptions import ImageNotFound, StorageError
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.objects import ImageRef


class LocalDirectory:
    """Images as files in a directory."""

    def __init__(self, directory: str, manifests: Manifests, host: str) -> None:
        self._directory, self._manifests, self._host = directory, manifests, host

    def fetch(self, image: ImageRef) -> str:
        """Path of the image's file here, verified.

        :raises ImageNotFound: there is none.
        :raises StorageError: it holds other bytes than the image.
        """
        path = os.path.join(self._directory, os.path.basename(image.id))
        if not os.path.isfile(path):
            raise ImageNotFound(f"Image {image.id} could not be found: there is no {path} on {self._host}. Copy it there.")
        found = self._manifests.sha256_of(path)
        if image.sha256 and found != image.sha256:
            raise StorageError(
                host=self._host,
                action=f"use {path}",
                reason=f"its sha256 is {found}, the image's is {image.sha256}: copy the right file there",
            )
        return path
