"""Horizon, in a real browser: an administrator finds a server, moves it by the form, and sees where it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from labkit import horizon, keystone, packages, scenario, seed
from labkit.commands import wait_until
from labkit.layout import CONTROLLER
from labkit.scenario import HOST

PAGES = f"http://{CONTROLLER}:{horizon.PORT}"
DRIVER_PORT = 9515
PAGE_LIMIT_S = 120
"""The first page of a kind makes style sheets and reads policies."""


class Browser:
    """A browser of the administrator's, on the controller. Pictures of what it shows are kept."""

    def __init__(self, driver: Any, pictures: pathlib.Path) -> None:
        self.driver, self._pictures = driver, pictures

    def open(self, path: str) -> None:
        self.driver.get(f"{PAGES}{path}")

    def wait_for(self, selector: str, text: str = "") -> Any:
        """The first element that a CSS selector names, and that has the text in it."""

        def found(driver: Any) -> Any:
            return next((one for one in driver.find_elements(By.CSS_SELECTOR, selector) if text in one.text), None)

        return WebDriverWait(self.driver, PAGE_LIMIT_S).until(found, f"{selector} with {text!r} at {self.driver.current_url}")

    def picture(self, name: str) -> pathlib.Path:
        path = self._pictures / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def troubles(self) -> list[str]:
        """What the page complains of."""
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, ".alert-danger, .alert-error")]

    def sign_in(self, user: str, password: str) -> None:
        self.open("/auth/login/")
        self.wait_for("#id_username").send_keys(user)
        self.driver.find_element(By.ID, "id_password").send_keys(password)
        self.driver.find_element(By.ID, "loginBtn").click()
        WebDriverWait(self.driver, PAGE_LIMIT_S).until(lambda driver: "/auth/login" not in driver.current_url, "signed in")


@pytest.fixture(scope="module")
def browser(lab: Any) -> Iterator[Browser]:
    packages.ensure_packages(["chromium", "chromium-driver"])
    lab.up(options=dataclasses.replace(lab.record.options, horizon=True))
    pictures = pathlib.Path(os.environ.get("NBM_PICTURES") or packages.CACHE / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    server = lab.popen("controller", ["chromedriver", f"--port={DRIVER_PORT}"])
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1500,1000"):
        options.add_argument(argument)
    try:
        with lab.inside_network():
            wait_until(_answers, 60, "the browser's driver answers")
            driver = webdriver.Remote(f"http://127.0.0.1:{DRIVER_PORT}", options=options)
            driver.set_page_load_timeout(PAGE_LIMIT_S)
            made = Browser(driver, pictures)
            made.sign_in("admin", keystone.credential_variables(lab.record.password)["OS_PASSWORD"])
            yield made
            driver.quit()
    finally:
        server.terminate()
        server.wait()


def _answers() -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{DRIVER_PORT}/status").status == 200
    return False


def test_an_administrator_moves_a_server_by_the_form(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], browser: Browser
) -> None:
    server = boot(neutron.make_port(41), name="lm041")

    browser.open("/admin/instances/")
    browser.wait_for("#instances tr", "lm041")
    browser.picture("instances-before")
    browser.open(f"/admin/instances/{server.id}/live_migrate")
    Select(browser.wait_for("#id_host")).select_by_value("compute2")
    browser.wait_for("#id_block_migration").click()
    browser.picture("live-migrate-form")
    browser.wait_for("input[type=submit], button[type=submit].btn-primary, .btn-primary").click()
    migration = scenario.wait_for_end(client, server.id, 180)
    assert migration["status"] == "completed"
    assert client.server(server.id)[HOST] == "compute2"

    browser.open("/admin/instances/")
    row = browser.wait_for("#instances tbody tr", "lm041")
    browser.picture("instances-after")
    assert "compute2" in row.text
    assert "Active" in row.text
    assert browser.troubles() == []


def test_the_page_of_a_server_says_what_it_is(neutron: Any, boot: Callable[..., Any], browser: Browser) -> None:
    server = boot(neutron.make_port(42), name="lm042")

    browser.open(f"/admin/instances/{server.id}/")
    browser.wait_for("dd", server.id)
    page = browser.driver.find_element(By.CSS_SELECTOR, "#content_body").text
    browser.picture("instance")
    assert "m1.tiny" in page
    assert seed.IMAGE in page
    assert browser.troubles() == []


def test_hypervisors_are_listed(browser: Browser) -> None:
    browser.open("/admin/hypervisors/")
    for host in ("compute1", "compute2"):
        browser.wait_for("#hypervisors tbody tr", host)
    browser.picture("hypervisors")
    browser.open("/admin/hypervisors/?tab=hypervisor_info__compute_host")
    browser.wait_for("#compute_host tbody tr", "compute1")
    browser.picture("compute-hosts")
    assert browser.troubles() == []
