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
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from labkit import horizon, packages, scenario, seed
from labkit.commands import wait_until
from labkit.layout import CONTROLLER
from labkit.scenario import HOST

PAGES = f"http://{CONTROLLER}:{horizon.PORT}"
DRIVER_PORT = 9515
PAGE_LIMIT_S = 120
"""The first page of a kind makes style sheets and reads policies."""


class Browser:
    """A browser of the administrator's, on the controller. Pictures of what it shows are kept."""

    def __init__(self, lab: Any, pictures: pathlib.Path) -> None:
        self._inside, self._pictures = lab.inside_network, pictures
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1500,1000"):
            options.add_argument(argument)
        with self._inside():
            self._driver = webdriver.Remote(f"http://127.0.0.1:{DRIVER_PORT}", options=options)
            self._driver.set_page_load_timeout(PAGE_LIMIT_S)

    def sign_in(self, user: str, password: str) -> None:
        self.open("/auth/login/")
        self.type("#id_username", user)
        self.type("#id_password", password)
        self.click("#loginBtn")
        with self._inside():
            WebDriverWait(self._driver, PAGE_LIMIT_S).until(lambda driver: "/auth/login" not in driver.current_url, "signed in")

    def open(self, path: str) -> None:
        with self._inside():
            self._driver.get(f"{PAGES}{path}")

    def text_of(self, selector: str, text: str = "") -> str:
        """Text of the first element that a CSS selector names, and that has `text` in it; waits until there is one."""
        with self._inside():
            return str(self._find(selector, text).text)

    def type(self, selector: str, words: str) -> None:
        with self._inside():
            self._find(selector).send_keys(words)

    def click(self, selector: str) -> None:
        with self._inside():
            self._find(selector).click()

    def choose(self, selector: str, value: str) -> None:
        """An entry of a list, which Horizon shows as a menu of its own."""
        self.click(f".themable-select:has({selector}) button")
        self.click(f".themable-select:has({selector}) a[data-select-value='{value}']")

    def picture(self, name: str) -> None:
        with self._inside():
            self._driver.save_screenshot(str(self._pictures / f"{name}.png"))

    def troubles(self) -> list[str]:
        """What the page complains of."""
        with self._inside():
            return [one.text for one in self._driver.find_elements(By.CSS_SELECTOR, ".alert-danger, .alert-error")]

    def close(self) -> None:
        with self._inside():
            self._driver.quit()

    def _find(self, selector: str, text: str = "") -> Any:
        def found(driver: Any) -> Any:
            return next((one for one in driver.find_elements(By.CSS_SELECTOR, selector) if text in one.text), None)

        try:
            return WebDriverWait(self._driver, PAGE_LIMIT_S).until(found, f"{selector} with {text!r} at {self._driver.current_url}")
        except TimeoutException:
            (self._pictures / "not-found.html").write_text(self._driver.page_source)
            self._driver.save_screenshot(str(self._pictures / "not-found.png"))
            raise


@pytest.fixture(scope="module")
def browser(lab: Any) -> Iterator[Browser]:
    packages.ensure_packages(["chromium", "chromium-driver"])
    lab.up(options=dataclasses.replace(lab.record.options, horizon=True))
    pictures = pathlib.Path(os.environ.get("NBM_PICTURES") or packages.CACHE / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    server = lab.popen("controller", ["chromedriver", f"--port={DRIVER_PORT}"])
    try:
        with lab.inside_network():
            wait_until(_answers, 60, "the browser's driver answers")
        made = Browser(lab, pictures)
        made.sign_in("admin", lab.record.password)
        yield made
        made.close()
    finally:
        server.terminate()
        server.wait()


def _answers() -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{DRIVER_PORT}/status").status == 200
    return False


def test_an_administrator_moves_a_server_by_the_form(client: Any, neutron: Any, boot: Callable[..., Any], browser: Browser) -> None:
    server = boot(neutron.make_port(41, port_security_enabled=False), name="lm041")

    browser.open("/admin/instances/")
    assert "compute1" in browser.text_of("#instances tbody tr", "lm041")
    browser.picture("instances-before")
    browser.open(f"/admin/instances/{server.id}/live_migrate")
    browser.choose("#id_host", "compute2")
    browser.click("label[for=id_block_migration]")
    browser.picture("live-migrate-form")
    browser.click("input[type=submit].btn-primary")
    asked = f"/os-migrations?instance_uuid={server.id}"
    wait_until(lambda: client.request("GET", asked)["migrations"], PAGE_LIMIT_S, "Horizon has asked for the migration")
    migration = scenario.wait_for_end(client, server.id, 180)
    assert migration["status"] == "completed"
    assert client.server(server.id)[HOST] == "compute2"

    browser.open("/admin/instances/")
    row = browser.text_of("#instances tbody tr", "lm041")
    browser.picture("instances-after")
    assert "compute2" in row
    assert "Active" in row
    assert browser.troubles() == []


def test_the_page_of_a_server_says_what_it_is(neutron: Any, boot: Callable[..., Any], browser: Browser) -> None:
    server = boot(neutron.make_port(42, port_security_enabled=False), name="lm042")

    browser.open(f"/admin/instances/{server.id}/detail")
    browser.text_of("dd", server.id)
    page = browser.text_of("#content_body")
    browser.picture("instance")
    assert "m1.tiny" in page
    assert seed.IMAGE in page
    assert browser.troubles() == []


def test_hypervisors_are_listed(browser: Browser) -> None:
    """Horizon asks placement, too, and says that there is none."""
    browser.open("/admin/hypervisors/")
    for host in ("compute1", "compute2"):
        browser.text_of("#hypervisors tbody tr", host)
    browser.picture("hypervisors")
    browser.open("/admin/hypervisors/?tab=hypervisor_info__compute_host")
    browser.text_of("#compute_host tbody tr", "compute1")
    browser.picture("compute-hosts")
    assert [one for one in browser.troubles() if "placement" not in one] == []
