"""The images that servers can be made from, whoever keeps them: what the API must know of one."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.views import images as views
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.queries import images
from nova_blockmigrate.image.formats import FORMATS
from nova_blockmigrate.image.glance import ACTIVE, Glance

GIB = 2**30
Body = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class WantedImage:
    """An image that a server is to be made from."""

    id: str
    name: str
    disk_format: str
    size_bytes: int
    sha256: str
    """Empty where its keeper has another hash: hosts ask for that."""
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    virtual_size_bytes: int = 0
    """Of the disk that is in it; 0: not known."""

    def check_fits(self, flavor: Flavor) -> None:
        """
        :raises exceptions.FlavorTooSmall:
        """
        inside_bytes = max(self.virtual_size_bytes, self.size_bytes if self.disk_format == "raw" else 0)
        needed_gib = max(self.min_disk_gib, -(-inside_bytes // GIB))
        if flavor.root_gib and flavor.root_gib < needed_gib:
            raise exceptions.FlavorTooSmall(flavor=flavor.name, image=self.name, needed=f"{needed_gib} GiB of disk")
        if flavor.memory_mib < self.min_ram_mib:
            raise exceptions.FlavorTooSmall(flavor=flavor.name, image=self.name, needed=f"{self.min_ram_mib} MiB of memory")


NO_IMAGE = WantedImage(id="", name="", disk_format="", size_bytes=0, sha256="")
"""Of a server that boots from a volume."""


class ImageCatalogue(abc.ABC):
    """Who says what images there are, and to whom."""

    @abc.abstractmethod
    def find(self, context: RequestContext, image_id: str) -> WantedImage:
        """
        :raises exceptions.ImageNotFound: there is none that the caller may see.
        :raises exceptions.ImageNotActive, exceptions.ImageUnacceptable: no server can be made from it.
        """

    @abc.abstractmethod
    def show(self, context: RequestContext, image_id: str) -> Body:
        """An image in the words of Glance's API v2."""

    @abc.abstractmethod
    def search(self, context: RequestContext, query: Mapping[str, Sequence[str]]) -> Body:
        """Images in the words of Glance's API v2, by its parameters."""


class LocalCatalogue(ImageCatalogue):
    """Rows of our database; everybody sees all."""

    def find(self, context: RequestContext, image_id: str) -> WantedImage:
        with session.reader() as db:
            image = images.get(db, image_id)
        return WantedImage(
            id=image.id,
            name=image.name,
            disk_format=image.disk_format,
            size_bytes=image.size_bytes,
            sha256=image.sha256,
            min_disk_gib=image.min_disk_gib,
            min_ram_mib=image.min_ram_mib,
        )

    def show(self, context: RequestContext, image_id: str) -> Body:
        with session.reader() as db:
            return views.show(images.get(db, image_id))

    def search(self, context: RequestContext, query: Mapping[str, Sequence[str]]) -> Body:
        with session.reader() as db:
            return views.index(images.search(db), query)


class GlanceCatalogue(ImageCatalogue):
    """An Image service, asked with the caller's token where that is Keystone's: so it decides what the caller may see. A token of
    the token file says nothing to it; then it is asked as this service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._glance = Glance(conf)
        self._token_is_keystones = conf.api.auth_strategy == "keystone"

    def find(self, context: RequestContext, image_id: str) -> WantedImage:
        return wanted(self.show(context, image_id))

    def show(self, context: RequestContext, image_id: str) -> Body:
        return self._glance.show(image_id, self._token(context))

    def search(self, context: RequestContext, query: Mapping[str, Sequence[str]]) -> Body:
        return self._glance.search(query, self._token(context))

    def _token(self, context: RequestContext) -> str:
        return str(context.auth_token or "") if self._token_is_keystones else ""


def wanted(image: Body) -> WantedImage:
    """What Glance says of an image, as far as a server needs it (pure).

    :raises exceptions.ImageNotActive, exceptions.ImageUnacceptable: no server can be made from it.
    """
    if image["status"] != ACTIVE:
        raise exceptions.ImageNotActive(image_id=image["id"], status=image["status"])
    if image.get("disk_format") not in FORMATS:
        reason = f"its disk format is {image.get('disk_format')}: servers are made from {' and '.join(FORMATS)} images"
        raise exceptions.ImageUnacceptable(image_id=image["id"], reason=reason)
    return WantedImage(
        id=image["id"],
        name=image.get("name") or image["id"],
        disk_format=image["disk_format"],
        size_bytes=image.get("size") or 0,
        sha256="",
        min_disk_gib=image.get("min_disk") or 0,
        min_ram_mib=image.get("min_ram") or 0,
        virtual_size_bytes=image.get("virtual_size") or 0,
    )


def load(conf: cfg.ConfigOpts) -> ImageCatalogue:
    """The catalogue that `[image] backend` names."""
    return GlanceCatalogue(conf) if conf.image.backend == "glance" else LocalCatalogue()
