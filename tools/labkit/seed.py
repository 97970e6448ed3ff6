"""What an administrator sets up once before the first server: tables, a token, flavors, a network and an image."""

import json
from collections.abc import Mapping
from pathlib import Path

from labkit import guest, keystone, machine, services
from labkit.commands import output
from labkit.errors import LabError
from labkit.fabric import GUEST_BRIDGE
from labkit.layout import Layout

FLAVORS = (
    ("m1.tiny", ["--memory-mib", "256", "--vcpus", "1", "--root-gib", "1"]),
    ("m1.small", ["--memory-mib", "512", "--vcpus", "1", "--root-gib", "2"]),
)
DEFAULT_RULES = (["--protocol", "icmp"], ["--protocol", "tcp", "--port", str(guest.PORT)])
"""What may come to a guest that names no security group: pings, and orders to its agent."""
IMAGE, NETWORK = "guest", "tenant"


def manage(layout: Layout, *arguments: str) -> str:
    """What `nova-blockmigrate-manage` prints for these arguments."""
    argv = machine.entering(layout, layout.controller, [services.command("manage"), *arguments], "/")
    return output(argv, env=machine.environment())


def sync_database(layout: Layout) -> None:
    manage(layout, "db", "sync")


def create_token(layout: Layout) -> None:
    """The administrator's token; the service keeps only its hash, so the clear text is kept in the credentials file."""
    if layout.credentials.exists():
        return
    token = manage(layout, "token", "create", "--project", "admin", "--user", "admin", "--role", "admin").split()[-1]
    _keep(layout, services.credential_variables(layout, token), token)


def create_keystone_credentials(layout: Layout, password: str) -> None:
    """What an administrator logs in with at Keystone, and a token for programs that do not log in."""
    if not layout.credentials.exists():
        _keep(layout, keystone.credential_variables(password), keystone.issue_token(layout, password))


def _keep(layout: Layout, variables: Mapping[str, str], token: str) -> None:
    for path, text in ((layout.admin_token, token), (layout.credentials, services.credentials(variables))):
        path.touch(mode=0o600)
        path.write_text(text)


def create_resources(layout: Layout, image: Path | None) -> None:
    """Flavors, the tenant network and the guest image, if any, each when it is not there yet."""
    flavors = _names(layout, "flavor")
    for name, size in FLAVORS:
        if name not in flavors:
            manage(layout, "flavor", "create", "--name", name, *size)
    if NETWORK not in _names(layout, "network"):
        manage(layout, "network", "create", "--name", NETWORK, "--bridge", GUEST_BRIDGE, "--cidr", layout.tenant_cidr)
        allow_tests_in(layout, "admin")
    if image is not None and IMAGE not in _names(layout, "image"):
        manage(layout, "image", "create", "--name", IMAGE, "--disk-format", "qcow2", "--file", str(image))


def allow_tests_in(layout: Layout, project: str) -> None:
    """Have the default group of a project let in what tests need (under Keystone a project is known by its id)."""
    for rule in DEFAULT_RULES:
        manage(layout, "security-group-rule", "create", "--project", project, "default", *rule)


def _names(layout: Layout, kind: str) -> set[str]:
    listed = manage(layout, kind, "list", "--json")
    try:
        return {str(entry["name"]) for entry in json.loads(listed)}
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"`{kind} list --json` printed no list of objects with names: {listed[:300]}") from error


def token_of(layout: Layout) -> str:
    """The administrator's token, or an empty text before there is one."""
    return layout.admin_token.read_text() if layout.admin_token.exists() else ""
