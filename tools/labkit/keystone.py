"""A real Keystone on the controller: SQLite, Fernet tokens, and the users and services of a small cloud."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import machine, openstack_venv, rest
from labkit.commands import run
from labkit.ini import to_ini
from labkit.layout import API_PORT, CONTROLLER, Layout

DAEMON = "keystone"
PORT = 5000
NETWORK_PORT, IMAGE_PORT, PLACEMENT_PORT, VOLUME_PORT = 9696, 9292, 8778, 8776
REGION = "laboratory"
SERVICE_USER, NEUTRON_USER, GLANCE_USER, CINDER_USER = "nova-blockmigrate", "neutron", "glance", "cinder"
NOVA_USER, PLACEMENT_USER = "nova", "placement"
_TOKEN_LIFE_S = 86400
DOMAIN = "default"
"""Id of the domain that everything is in."""
SYSTEM: Mapping[str, Any] = {"system": {"all": True}}
"""Scope of a token for the whole system."""
# user -> (project, roles); all have the laboratory's password
USERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    SERVICE_USER: ("service", ("admin", "service")),
    NEUTRON_USER: ("service", ("admin", "service")),
    GLANCE_USER: ("service", ("admin", "service")),
    CINDER_USER: ("service", ("admin", "service")),
    NOVA_USER: ("service", ("admin", "service")),
    PLACEMENT_USER: ("service", ("admin", "service")),
    "manager": ("demo", ("manager",)),
    "member": ("demo", ("member",)),
    "reader": ("demo", ("reader",)),
    "stranger": ("other", ("member",)),
}
_SERVICES = (
    ("compute", "nova", f"http://{CONTROLLER}:{API_PORT}/v2.1"),
    ("network", "neutron", f"http://{CONTROLLER}:{NETWORK_PORT}"),
)
_GLANCE = ("image", "glance", f"http://{CONTROLLER}:{IMAGE_PORT}")
CINDER = ("block-storage", "cinder", f"http://{CONTROLLER}:{VOLUME_PORT}/v3")
_PLACEMENT = ("placement", "placement", f"http://{CONTROLLER}:{PLACEMENT_PORT}")
_EMBEDDED_IMAGES = ("image", "embedded-images", f"http://{CONTROLLER}:{API_PORT}")
"""The product serves its own images as Glance does."""


def start(layout: Layout, password: str) -> None:
    """Write its files, make its database (once) and start it."""
    folder = _folder(layout)
    for name in ("fernet-keys", "credential-keys"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    configuration = folder / "keystone.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        to_ini(
            {
                "DEFAULT": {"use_stderr": "true"},
                "database": {"connection": f"sqlite:///{folder}/keystone.sqlite"},
                "token": {"provider": "fernet", "expiration": _TOKEN_LIFE_S},
                "fernet_tokens": {"key_repository": folder / "fernet-keys"},
                "credential": {"key_repository": folder / "credential-keys"},
            }
        )
    )
    if not (folder / "bootstrapped").exists():
        _bootstrap(layout, password)
    machine.start_daemon(
        layout,
        layout.controller,
        DAEMON,
        openstack_venv.serving("keystone.wsgi.api:application", PORT),
        {"OS_KEYSTONE_CONFIG_FILES": str(configuration), "PYTHONUNBUFFERED": "1"},
    )


def _bootstrap(layout: Layout, password: str) -> None:
    folder = _folder(layout)
    own = ["--keystone-user", "root", "--keystone-group", "root"]
    url = f"http://{CONTROLLER}:{PORT}/v3"
    environment = {**machine.environment(), "OS_BOOTSTRAP_PASSWORD": password}  # (as an argument it could look like an option)
    urls = [part for kind in ("admin", "internal", "public") for part in (f"--bootstrap-{kind}-url", url)]
    for command in (
        ["db_sync"],
        ["fernet_setup", *own],
        ["credential_setup", *own],
        ["bootstrap", "--bootstrap-region-id", REGION, *urls],
    ):
        run([openstack_venv.program("keystone-manage"), "--config-file", str(folder / "keystone.conf"), *command], env=environment)
    (folder / "bootstrapped").touch()


def answers(layout: Layout) -> bool:
    return rest.answers(layout, PORT, "/v3")


def populate(layout: Layout, password: str, glance: bool = False, placement: bool = False) -> None:
    """Projects, users with their roles, services and their endpoints, each when it is not there yet."""
    token = issue_token(layout, password)
    for name, (project, roles) in USERS.items():
        ensure_user(layout, token, password, name, project, roles)
    images = _GLANCE if glance else _EMBEDDED_IMAGES
    for service in (*_SERVICES, images, *([_PLACEMENT] if placement else [])):
        register(layout, token, service)


def ensure_user(
    layout: Layout, token: str, password: str, name: str, project: str, roles: Sequence[str], domain: str = DOMAIN
) -> tuple[str, str]:
    """Have a user with these roles in a project, both of one domain (its id); the ids of user and project."""
    project_id = _ensure(layout, token, "projects", name=project, domain_id=domain)
    user_id = _ensure(layout, token, "users", name=name, domain_id=domain, password=password)
    for role in roles:
        give_role(layout, token, f"projects/{project_id}", user_id, role)
    return user_id, project_id


def ensure_domain(layout: Layout, token: str, name: str) -> str:
    """The id of a domain, made if it is not there yet."""
    return _ensure(layout, token, "domains", name=name)


def give_role(layout: Layout, token: str, place: str, user_id: str, role: str) -> None:
    """`place`: projects/ID or domains/ID."""
    role_id = _ensure(layout, token, "roles", name=role)
    rest.ask(layout, PORT, "PUT", f"/v3/{place}/users/{user_id}/roles/{role_id}", token=token)


def register(layout: Layout, token: str, service: tuple[str, str, str]) -> None:
    """Have a service (type, name, URL) in the catalogue, if it is not there yet."""
    kind, name, url = service
    service_id = _ensure(layout, token, "services", name=name, type=kind)
    _ensure(layout, token, "endpoints", service_id=service_id, interface="public", region_id=REGION, url=url)


def project_id(layout: Layout, token: str, name: str) -> str:
    return _id(layout, token, "projects", name)


def user_id(layout: Layout, token: str, name: str) -> str:
    return _id(layout, token, "users", name)


def _id(layout: Layout, token: str, kind: str, name: str) -> str:
    found, _ = rest.ask(layout, PORT, "GET", f"/v3/{kind}?name={name}&domain_id={DOMAIN}", token=token)
    return str(found[kind][0]["id"])


def _ensure(layout: Layout, token: str, kind: str, **values: Any) -> str:
    """The id of a thing of Keystone's, made if it is not there yet."""
    one = kind.removesuffix("s")
    unique = {key: value for key, value in values.items() if key in ("name", "domain_id", "service_id", "interface")}
    query = "&".join(f"{key}={value}" for key, value in unique.items())
    there, _ = rest.ask(layout, PORT, "GET", f"/v3/{kind}?{query}", token=token)
    if there[kind]:
        return str(there[kind][0]["id"])
    made, _ = rest.ask(layout, PORT, "POST", f"/v3/{kind}", {one: values}, token=token)
    return str(made[one]["id"])


def issue_token(
    layout: Layout,
    password: str,
    user: str = "admin",
    project: str = "admin",
    scope: Mapping[str, Any] | None = None,
    domain: str = DOMAIN,
) -> str:
    """A token of a domain's user for a project of that domain, or for another `scope`, in Keystone's words."""
    who = {"user": {"name": user, "domain": {"id": domain}, "password": password}}
    scope = scope or {"project": {"name": project, "domain": {"id": domain}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": who}, "scope": scope}}
    _, headers = rest.ask(layout, PORT, "POST", "/v3/auth/tokens", body)
    return headers["x-subject-token"]


def credential_variables(password: str, user: str = "admin", project: str = "admin", domain: str = DOMAIN) -> dict[str, str]:
    """What clients read, for a user's project."""
    return {
        "OS_AUTH_TYPE": "password",
        "OS_AUTH_URL": f"http://{CONTROLLER}:{PORT}/v3",
        "OS_USERNAME": user,
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": project,
        "OS_USER_DOMAIN_ID": domain,
        "OS_PROJECT_DOMAIN_ID": domain,
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
    }


def service_options(user: str, password: str) -> dict[str, object]:
    """How a service says who it is: the options of keystoneauth and keystonemiddleware."""
    return {
        "auth_type": "password",
        "auth_url": f"http://{CONTROLLER}:{PORT}/v3",
        "username": user,
        "password": password,
        "project_name": USERS[user][0],
        "user_domain_id": DOMAIN,
        "project_domain_id": DOMAIN,
        "region_name": REGION,
    }


def _folder(layout: Layout) -> Path:
    return layout.controller.folder / "keystone"
