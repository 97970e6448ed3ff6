"""Images of Glance's: whole, verified by the hash that Glance keeps, gone on with when they are cut off."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.concurrency import run_native as native
from nova_blockmigrate.image import glance_helper
from nova_blockmigrate.image.glance import Glance
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import GlanceImages, LocalDirectory, load
from nova_blockmigrate.objects import ImageRef

ID = "7de29d9e-cf3e-42d6-bfd0-bbaf317ef254"
BYTES = bytes(range(256)) * 8192


class Service(http.server.ThreadingHTTPServer):
    """Glance's v2 API with one image, as far as it is asked here."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.image: dict[str, Any] = {
            "id": ID, "name": "guest", "status": "active", "size": len(BYTES), "disk_format": "raw",
            "os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(BYTES).hexdigest(), "checksum": None,
        }  # fmt: skip
        self.bytes = BYTES
        self.cut_after: int | None = None
        self.ranges_work = True
        self.asked: list[tuple[str, str | None, str | None]] = []
        """(path, token, range)"""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, self.headers.get("X-Auth-Token"), wanted))
        if self.path == f"/v2/images/{ID}/file":
            self._send_file(int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges_work else 0)
        elif self.path == f"/v2/images/{ID}":
            self._answer(200, self.server.image)
        elif self.path.startswith("/v2/images?"):
            self._answer(200, {"images": [self.server.image]})
        elif self.path in ("/", "/v2", "/v2/"):
            link = {"rel": "self", "href": f"{self.server.url}/v2/"}
            self._answer(300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": [link]}]})
        else:
            self._answer(404, {"message": "no"})

    def _send_file(self, start: int) -> None:
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.server.bytes) - start))
        self.end_headers()
        cut, self.server.cut_after = self.server.cut_after, None
        self.wfile.write(self.server.bytes[start:] if cut is None else self.server.bytes[start : start + cut])
        self.close_connection = True

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests look at `asked`."""


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.shutdown()
    thread.join()
    service.server_close()


@pytest.fixture
def conf(tmp_path: Path, service: Service) -> cfg.ConfigOpts:
    path = tmp_path / "product.conf"
    path.write_text(
        f"[image]\nbackend = glance\n[glance]\nauth_type = admin_token\nendpoint = {service.url}\ntoken = services\n"
        f"endpoint_override = {service.url}/v2\n"
    )
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[str(path)])
    return conf


def test_an_image_is_downloaded_and_verified(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    Glance(conf).download(ID, str(tmp_path / "image"))
    assert (tmp_path / "image").read_bytes() == BYTES
    assert {token for path, token, _ in service.asked if "images" in path} == {"services"}


def test_one_that_is_cut_off_is_gone_on_with(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    service.cut_after = 1024**2 + 1000
    Glance(conf).download(ID, str(tmp_path / "image"))
    assert (tmp_path / "image").read_bytes() == BYTES
    ranges = [wanted for path, _, wanted in service.asked if path.endswith("/file")]
    assert ranges[0] is None and ranges[1] is not None and int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0


def test_a_glance_without_ranges_is_asked_for_all_again(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    service.cut_after, service.ranges_work = 1024**2 + 1000, False
    Glance(conf).download(ID, str(tmp_path / "image"))
    assert (tmp_path / "image").read_bytes() == BYTES


def test_other_bytes_are_refused(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    service.bytes = b"x" + BYTES[1:]
    with pytest.raises(exceptions.ImageCorrupt, match="sha512"):
        Glance(conf).download(ID, str(tmp_path / "image"))


def test_more_bytes_than_it_has_are_not_even_taken(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    service.bytes = BYTES * 2
    with pytest.raises(exceptions.ImageCorrupt, match="more than"):
        Glance(conf).download(ID, str(tmp_path / "image"))
    assert (tmp_path / "image").stat().st_size < 2 * len(BYTES)


@pytest.mark.parametrize(
    "values, algorithm",
    [({"os_hash_value": None, "checksum": hashlib.md5(BYTES).hexdigest()}, "md5"), ({"os_hash_algo": "sha256"}, "sha256")],
)
def test_whatever_hash_glance_keeps_is_used(
    conf: cfg.ConfigOpts, service: Service, tmp_path: Path, values: dict[str, Any], algorithm: str
) -> None:
    service.image.update(values)
    if algorithm == "sha256":
        service.image["os_hash_value"] = hashlib.sha256(BYTES).hexdigest()
    Glance(conf).download(ID, str(tmp_path / "image"))


def test_an_image_without_any_hash_is_refused(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    service.image.update(os_hash_value=None)
    with pytest.raises(exceptions.ImageCorrupt, match="no hash"):
        Glance(conf).download(ID, str(tmp_path / "image"))


def test_an_image_that_is_not_there_or_not_active_is_not_found(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    with pytest.raises(exceptions.ImageNotFound):
        Glance(conf).show("another")
    service.image["status"] = "deactivated"
    with pytest.raises(exceptions.ImageNotFound, match="deactivated"):
        Glance(conf).download(ID, str(tmp_path / "image"))


def test_a_user_asks_with_the_users_token(conf: cfg.ConfigOpts, service: Service) -> None:
    Glance(conf).show(ID, token="users")
    assert service.asked[-1][:2] == (f"/v2/images/{ID}", "users")
    assert Glance(conf).search({"name": ["guest"]}, token="users")["images"][0]["id"] == ID


def test_a_glance_that_is_away_says_what_to_look_at(conf: cfg.ConfigOpts, service: Service) -> None:
    conf.set_override("endpoint_override", "http://127.0.0.1:1/v2", group="glance")
    with pytest.raises(exceptions.ImageServiceUnavailable, match="glance-api"):
        Glance(conf).show(ID)


def test_the_helper_has_the_services_configuration(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    native(glance_helper.fetch, conf.config_file, [], ID, str(tmp_path / "image"))
    assert (tmp_path / "image").read_bytes() == BYTES
    with pytest.raises(exceptions.ImageNotFound):
        native(glance_helper.fetch, conf.config_file, [], "another", str(tmp_path / "image"))


def test_the_source_gives_the_file_for_as_long_as_it_is_needed(conf: cfg.ConfigOpts, service: Service, tmp_path: Path) -> None:
    source = load(conf, Manifests(str(tmp_path / "manifests")), "here")
    assert isinstance(source, GlanceImages)
    scratch = tmp_path / "scratch"

    def bytes_of() -> bytes:
        with source.original(ImageRef(ID, "raw", len(BYTES), ""), str(scratch)) as path:
            return Path(path).read_bytes()

    assert native(bytes_of) == BYTES
    assert not scratch.exists()
    service.bytes = b"x" + BYTES[1:]
    with pytest.raises(exceptions.StorageError, match="sha512"):
        native(bytes_of)
    assert not scratch.exists()


def test_files_of_a_directory_are_the_default(tmp_path: Path) -> None:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    assert isinstance(load(conf, Manifests(str(tmp_path)), "here"), LocalDirectory)
