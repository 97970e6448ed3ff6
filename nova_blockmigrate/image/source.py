"""Where images come from: a local directory with a file for each image, named by its id, or Glance."""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Iterator

from oslo_config import cfg

from nova_blockmigrate.exceptions import BlockMigrateError, ImageNotFound, StorageError
from nova_blockmigrate.image import glance_helper
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.objects import ImageRef

GLANCE = "glance"


class ImageSource(abc.ABC):
    """Who has the images."""

    @abc.abstractmethod
    def original(self, image: ImageRef, scratch: str) -> contextlib.AbstractContextManager[str]:
        """Path of the image's file on this host, verified, for as long as the context lasts. `scratch` is a name that may be
        used for it meanwhile.

        :raises ImageNotFound: there is none.
        :raises StorageError: it holds other bytes than the image, or cannot be had.
        """


class LocalDirectory(ImageSource):
    """Images as files in a directory."""

    def __init__(self, directory: str, manifests: Manifests, host: str) -> None:
        self._directory, self._manifests, self._host = directory, manifests, host

    @contextlib.contextmanager
    def original(self, image: ImageRef, scratch: str) -> Iterator[str]:
        yield self._find(image)

    def _find(self, image: ImageRef) -> str:
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


class GlanceImages(ImageSource):
    """Images of an Image service; each is downloaded when a host needs it, verified by the hash that Glance keeps."""

    def __init__(self, conf: cfg.ConfigOpts, host: str) -> None:
        self._conf, self._host = conf, host

    @contextlib.contextmanager
    def original(self, image: ImageRef, scratch: str) -> Iterator[str]:
        try:
            try:
                glance_helper.fetch(self._conf.config_file or (), self._conf.config_dir or (), image.id, scratch)
            except ImageNotFound:
                raise
            except BlockMigrateError as error:
                raise StorageError(host=self._host, action=f"fetch image {image.id}", reason=error.message) from error
            yield scratch
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)


def load(conf: cfg.ConfigOpts, manifests: Manifests, host: str) -> ImageSource:
    """The source that `[image] backend` names."""
    if conf.image.backend == GLANCE:
        return GlanceImages(conf, host)
    return LocalDirectory(conf.image.local_directory, manifests, host)
