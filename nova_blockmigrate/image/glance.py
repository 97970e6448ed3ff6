"""Glance as the keeper of images, through openstacksdk: what is known of one, and its bytes.

Who asks is a user, by the token of the request (the API: so that Glance decides what the user may see), or this service (hosts).
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading, token_endpoint
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate.conf.image import GROUP
from nova_blockmigrate.exceptions import (
    ConfigurationError,
    ImageCorrupt,
    ImageNotFound,
    ImageServiceError,
    ImageServiceUnavailable,
)

LOG = log.getLogger(__name__)

ACTIVE = "active"
_BLOCK = 1024**2
_NOT_FOUND, _FORBIDDEN, _PARTIAL, _SERVER_ERROR = 404, 403, 206, 500

Body = dict[str, Any]


class Glance:
    """An Image service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    # --- what is known of images ------------------------------------------------------------------------------------

    def show(self, image_id: str, token: str = "") -> Body:
        """Glance's description of an image, as the owner of `token` sees it, else as this service does.

        :raises ImageNotFound: there is none that whoever asks may see.
        """
        answer = self._ask(f"/images/{image_id}", f"show image {image_id}", token)
        if answer.status_code in (_NOT_FOUND, _FORBIDDEN):
            raise ImageNotFound(image_id=image_id)
        return self._read(answer, f"show image {image_id}")

    def search(self, query: Mapping[str, Sequence[str]], token: str = "") -> Body:
        """Glance's answer to a listing, with its own parameters."""
        return self._read(self._ask("/images", "list images", token, params=query), "list images")

    # --- bytes ------------------------------------------------------------------------------------------------------

    def download(self, image_id: str, path: str) -> None:
        """Write the bytes of an image to a file, verified by the hash that Glance keeps. One that was cut off is gone on with,
        `[glance] num_retries` times.

        :raises ImageNotFound: there is no such image, or its bytes are not there.
        :raises ImageCorrupt: these are not its bytes.
        """
        image = self.show(image_id)
        if image.get("status") != ACTIVE:
            raise ImageNotFound(f"Image {image_id} could not be found: its status is {image.get('status')}.")
        with open(path, "wb") as file:
            self._fetch(image, file)
            file.flush()
            os.fsync(file.fileno())
        _verify(image, path)

    def _fetch(self, image: Body, file: Any) -> None:
        attempts = self._conf[GROUP].num_retries + 1
        for attempt in range(1, attempts + 1):
            try:
                self._continue(image, file)
                return
            except ImageServiceUnavailable as error:
                if attempt == attempts:
                    raise
                LOG.warning("%s Going on after %d bytes.", error.message, file.tell())

    def _continue(self, image: Body, file: Any) -> None:
        """Fetch what is missing of a file."""
        action, done = f"fetch image {image['id']}", file.tell()
        more = {"Range": f"bytes={done}-"} if done else {}
        answer = self._ask(f"/images/{image['id']}/file", action, headers={"Accept": "*/*", **more}, stream=True)
        try:
            if answer.status_code in (_NOT_FOUND, _FORBIDDEN):
                raise ImageNotFound(image_id=image["id"])
            if answer.status_code >= _SERVER_ERROR:
                raise ImageServiceUnavailable(action=action, reason=_reason(answer))
            if answer.status_code >= 400:
                raise ImageServiceError(action=action, reason=_reason(answer))
            if done and answer.status_code != _PARTIAL:
                file.seek(0)
                file.truncate()
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                if file.tell() > image["size"]:
                    raise ImageCorrupt(image_id=image["id"], reason=f"Glance sends more than its {image['size']} bytes")
        except _connection_errors() as error:
            raise ImageServiceUnavailable(action=action, reason=str(error)) from error
        finally:
            answer.close()
        if file.tell() < image["size"]:
            raise ImageServiceUnavailable(action=action, reason=f"it ended after {file.tell()} of {image['size']} bytes")

    # --- HTTP -------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _adapter(self) -> Any:
        """openstacksdk's image proxy: one session for this service, logged in with the [glance] options."""
        from openstack import connection  # (takes time to load: only who uses Glance does)

        auth = loading.load_auth_from_conf_options(self._conf, GROUP)
        if auth is None:
            raise ConfigurationError(detail=f"[image] backend = glance needs [{GROUP}] auth_type and what belongs to it")
        session = loading.load_session_from_conf_options(self._conf, GROUP, auth=auth)
        return connection.Connection(session=session, oslo_conf=self._conf, service_types=["image"]).image

    def _ask(self, path: str, action: str, token: str = "", **request: Any) -> Any:
        """
        :raises ImageServiceUnavailable: it could not be asked.
        """
        try:
            if token:
                request["auth"] = token_endpoint.Token(self._adapter.get_endpoint(), token)
            return self._adapter.request(path, "GET", raise_exc=False, **request)
        except keystone_exceptions.ClientException as error:
            raise ImageServiceUnavailable(action=action, reason=str(error)) from error

    def _read(self, answer: Any, action: str) -> Body:
        """
        :raises ImageServiceError: Glance refused.
        """
        if answer.status_code >= 400:
            raise ImageServiceError(action=action, reason=_reason(answer))
        body: Body = answer.json()
        return body


def _verify(image: Body, path: str) -> None:
    """
    :raises ImageCorrupt: the bytes are others than those that were uploaded, or that cannot be known.
    """
    algorithm, expected = ("md5", image.get("checksum"))
    if image.get("os_hash_algo") in hashlib.algorithms_available and image.get("os_hash_value"):
        algorithm, expected = image["os_hash_algo"], image["os_hash_value"]
    if not expected:  # as of an image that was registered by its address only
        raise ImageCorrupt(image_id=image["id"], reason="Glance keeps no hash of it that this host can compute; upload it anew")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise ImageCorrupt(image_id=image["id"], reason=f"the {algorithm} of what Glance sent is {found}, expected {expected}")


def _connection_errors() -> tuple[type[Exception], ...]:
    import requests

    return (requests.exceptions.RequestException, OSError)


def _reason(answer: Any) -> str:
    return f"{answer.status_code} {str(answer.text)[:300]}"
