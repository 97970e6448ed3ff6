"""A real Horizon on the controller: the dashboard through which administrators move servers. It needs Keystone."""

import contextlib
import http.client
import os
import secrets
from pathlib import Path

from labkit import keystone, machine, openstack_venv, rest
from labkit.commands import run
from labkit.layout import CONTROLLER, Layout

DAEMON = "horizon"
PORT = 8080


def start(layout: Layout) -> None:
    """Start it; `gather_files` comes before."""
    application = openstack_venv.serving("labstack.dashboard_wsgi:application", PORT)
    machine.start_daemon(layout, layout.controller, DAEMON, application, _environment(layout))


def gather_files(layout: Layout) -> None:
    """Its key and its static files, once."""
    folder = _folder(layout)
    (folder / "static").mkdir(parents=True, exist_ok=True)
    done = folder / "files-gathered"
    if not done.exists():
        key = folder / "secret"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        command = [openstack_venv.program("django-admin"), "collectstatic", "--noinput", "-v", "0"]
        run(command, env={**os.environ, **_environment(layout)})
        done.touch()


def answers(layout: Layout) -> bool:
    """Whether it shows its first page; the first time that takes long, as it makes its style sheets."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return rest.status_of(layout, PORT, "GET", "/auth/login/") == 200
    return False


def _environment(layout: Layout) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "labstack.dashboard",
        "LAB_HORIZON_FOLDER": str(_folder(layout)),
        "LAB_KEYSTONE_URL": f"http://{CONTROLLER}:{keystone.PORT}/v3",
        "PYTHONUNBUFFERED": "1",
    }


def _folder(layout: Layout) -> Path:
    return layout.controller.folder / "horizon"
