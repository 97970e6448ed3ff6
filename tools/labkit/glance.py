"""A real Glance on the controller: SQLite, a store of files, Keystone before it. It needs nothing of ours but Keystone."""

from pathlib import Path
from typing import Any

from labkit import keystone, machine, openstack_venv, rest
from labkit.commands import run
from labkit.ini import to_ini
from labkit.layout import CONTROLLER, Layout

DAEMON = "glance-api"
PORT = keystone.IMAGE_PORT
STORE = "files"


def start(layout: Layout, password: str) -> None:
    """Write its files and start it; `make_tables` comes before."""
    folder = _folder(layout)
    for name in ("images", "staging", "tasks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _configure(layout, password)
    machine.start_daemon(
        layout,
        layout.controller,
        DAEMON,
        openstack_venv.serving("glance.wsgi.api:application", PORT),
        {"OS_GLANCE_CONFIG_DIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )


def make_tables(layout: Layout, password: str) -> None:
    path = _configure(layout, password)
    done = _folder(layout) / "tables-made"
    if not done.exists():
        (_folder(layout) / "glance.sqlite").unlink(missing_ok=True)  # half made
        run([openstack_venv.program("glance-manage"), "--config-file", str(path), "db_sync"])
        done.touch()


def _configure(layout: Layout, password: str) -> Path:
    folder = _folder(layout)
    folder.mkdir(exist_ok=True)
    path = folder / "glance-api.conf"
    path.touch(mode=0o600)
    own = keystone.service_options(keystone.GLANCE_USER, password)
    path.write_text(
        to_ini(
            {
                "DEFAULT": {
                    "enabled_backends": f"{STORE}:file",
                    "enabled_import_methods": "[]",
                    "worker_self_reference_url": f"http://{CONTROLLER}:{PORT}",
                    "use_stderr": "true",
                },
                "glance_store": {"default_backend": STORE},
                STORE: {"filesystem_store_datadir": folder / "images"},
                "os_glance_staging_store": {"filesystem_store_datadir": folder / "staging"},
                "os_glance_tasks_store": {"filesystem_store_datadir": folder / "tasks"},
                "database": {"connection": f"sqlite:///{folder}/glance.sqlite"},
                "keystone_authtoken": {**own, "www_authenticate_uri": own["auth_url"], "service_token_roles_required": "true"},
                "paste_deploy": {"flavor": "keystone", "config_file": openstack_venv.VENV / "etc/glance/glance-api-paste.ini"},
                "oslo_concurrency": {"lock_path": folder / "locks"},
            }
        )
    )
    return path


def answers(layout: Layout) -> bool:
    return rest.answers(layout, PORT, "/versions")


def ask(layout: Layout, token: str, method: str, path: str, body: Any = None) -> Any:
    """A request to Glance as whoever's token it is; the answer's JSON."""
    return rest.ask(layout, PORT, method, f"/v2{path}", body, token)[0]


def ensure_image(layout: Layout, token: str, name: str, file: Path, **values: Any) -> str:
    """The image of that name, made of a qcow2 file that everybody may use unless `values` say otherwise; its id."""
    there = ask(layout, token, "GET", f"/images?name={name}&status=active")["images"]
    return str(there[0]["id"]) if there else make_image(layout, token, name, file, **values)


def make_image(layout: Layout, token: str, name: str, file: Path, **values: Any) -> str:
    """A new image; its id."""
    wanted = {"name": name, "disk_format": "qcow2", "container_format": "bare", "visibility": "public", **values}
    image_id = str(ask(layout, token, "POST", "/images", wanted)["id"])
    rest.upload(layout, PORT, f"/v2/images/{image_id}/file", file, token)
    return image_id


def _folder(layout: Layout) -> Path:
    return layout.controller.folder / "glance"
