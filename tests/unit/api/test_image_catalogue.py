"""Servers made from images of an Image service: what it does not show the caller is not there, what does not fit is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import image_catalogue
from nova_blockmigrate.api.image_catalogue import GlanceCatalogue
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from tests.unit.api.conftest import Api

ID = "7de29d9e-cf3e-42d6-bfd0-bbaf317ef254"
GIB = 2**30


class FakeGlance:
    def __init__(self) -> None:
        self.image: dict[str, Any] = {
            "id": ID, "name": "guest", "status": "active", "disk_format": "qcow2", "size": 1000, "virtual_size": GIB,
            "min_disk": 0, "min_ram": 0,
        }  # fmt: skip
        self.tokens: list[str] = []
        self.error: exceptions.BlockMigrateError | None = None

    def show(self, image_id: str, token: str = "") -> dict[str, Any]:
        self.tokens.append(token)
        if self.error:
            raise self.error
        if image_id != ID:
            raise exceptions.ImageNotFound(image_id=image_id)
        return self.image

    def search(self, query: Mapping[str, Sequence[str]], token: str = "") -> dict[str, Any]:
        self.tokens.append(token)
        return {"images": [self.image] if query.get("name", ["guest"]) == ["guest"] else []}


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> FakeGlance:
    """Stands in for the Image service of the application under test: ask for it before `api`."""
    fake = FakeGlance()
    load = image_catalogue.load

    def with_fake(conf: Any) -> Any:
        conf.set_override("backend", "glance", group="image")
        catalogue = load(conf)
        assert isinstance(catalogue, GlanceCatalogue)
        catalogue.__dict__["_glance"] = fake
        return catalogue

    monkeypatch.setattr(image_catalogue, "load", with_fake)
    return fake


def create(api: Api, flavor: models.Flavor, image_id: str = ID) -> Any:
    body = {"name": "one", "imageRef": image_id, "flavorRef": flavor.flavorid, "networks": "none"}
    return api.request("POST", "/servers", {"server": body}, user="joe")


def test_a_server_gets_what_glance_says_of_its_image(glance: FakeGlance, api: Api, flavor: models.Flavor) -> None:
    answer = create(api, flavor)
    assert answer.status_code == 202
    with session.reader() as db:
        made = db.query(models.Instance).one()
    assert (made.image_id, made.image_format, made.image_size_bytes, made.image_sha256) == (ID, "qcow2", 1000, "")


@pytest.mark.parametrize(
    "values, words",
    [
        ({"status": "queued"}, "not active"),
        ({"status": "deactivated"}, "not active"),
        ({"disk_format": "vmdk"}, "disk format is vmdk"),
        ({"disk_format": None}, "disk format"),
        ({"min_disk": 2}, "2 GiB of disk"),
        ({"min_ram": 65}, "65 MiB of memory"),
        ({"virtual_size": GIB + 1}, "2 GiB of disk"),
        ({"disk_format": "raw", "size": GIB + 1, "virtual_size": None}, "2 GiB of disk"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    glance: FakeGlance, api: Api, flavor: models.Flavor, values: dict[str, Any], words: str
) -> None:
    glance.image.update(values)
    answer = create(api, flavor)
    assert answer.status_code == 400
    assert words in answer.json["badRequest"]["message"]


def test_one_that_the_caller_may_not_see_is_not_there(glance: FakeGlance, api: Api, flavor: models.Flavor) -> None:
    answer = create(api, flavor, "00000000-0000-4000-8000-000000000000")
    assert (answer.status_code, "could not be found" in answer.text) == (400, True)


def test_a_glance_that_is_away_is_an_error_of_ours(glance: FakeGlance, api: Api, flavor: models.Flavor) -> None:
    glance.error = exceptions.ImageServiceUnavailable(action="show image", reason="refused")
    assert create(api, flavor).status_code == 503


def test_clients_without_a_catalogue_find_its_images_here(glance: FakeGlance, api: Api) -> None:
    assert [one["id"] for one in api.get("/v2.1/v2/images?name=guest")["images"]] == [ID]
    assert api.get("/v2.1/v2/images?name=another")["images"] == []
    assert api.get(f"/v2/images/{ID}")["name"] == "guest"
    assert api.request("GET", "/v2/images/another").status_code == 404


@pytest.mark.parametrize("strategy, token", [("keystone", "users"), ("token_file", "")])
def test_only_a_token_of_keystones_is_shown_to_glance(conf: Any, strategy: str, token: str) -> None:
    conf.set_override("auth_strategy", strategy, group="api")
    catalogue, fake = GlanceCatalogue(conf), FakeGlance()
    catalogue.__dict__["_glance"] = fake
    catalogue.find(RequestContext(auth_token="users", overwrite=False), ID)
    assert fake.tokens == [token]
