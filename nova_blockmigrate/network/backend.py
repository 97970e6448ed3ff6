"""Who owns networks and ports: this service itself ("embedded"), or a network service beside it (Neutron).

Backends are found by stevedore in the namespace `nova_blockmigrate.network`, by `[DEFAULT] network_backend`. They speak HTTP
and are called from the services' own threads, never from the driver's. Every method may be called again and ends the same.

An embedded network's ports are rows of our database, and a host needs nobody's leave to connect one: `Embedded` has nothing
to do.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import stevedore.driver
from oslo_config import cfg

from nova_blockmigrate.objects import NamedGroup, NetworkPort, Vif, WantedPort

NAMESPACE = "nova_blockmigrate.network"
EMBEDDED = "embedded"


@dataclasses.dataclass(frozen=True)
class Owner:
    """For whom ports are."""

    server_uuid: str
    project_id: str
    host: str
    availability_zone: str = ""
    security_groups: tuple[str, ...] = ()
    """Ids of the groups that ports made for it are to be in; none: the project's default one."""


@dataclasses.dataclass(frozen=True)
class BoundVif:
    """An interface as a host has it by a binding."""

    vif: Vif
    awaited: bool
    """Whether the network service says when it is wired, and may say so before the guest is there."""


class NetworkBackend(abc.ABC):
    owns_ports = True
    """Whether ports are elsewhere than in our database."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    # --- a server's ports -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def allocate(self, owner: Owner, wanted: Sequence[WantedPort]) -> tuple[NetworkPort, ...]:
        """Ports for a new server, bound to its host.

        :raises NetworkNotFound: a network that was named is not there for the project.
        :raises PortNotUsable, NetworkServiceError, NetworkServiceUnavailable: what was made is unmade as far as possible.
        """

    @abc.abstractmethod
    def networks_of(self, project_id: str) -> list[str]:
        """Ids of the networks that servers of a project can be put on without naming one."""

    @abc.abstractmethod
    def describe(self, server_uuid: str, known: Sequence[NetworkPort]) -> tuple[NetworkPort, ...]:
        """The server's ports as they are now; `known`: as they were last known."""

    @abc.abstractmethod
    def release(self, server_uuid: str, given: Sequence[str]) -> None:
        """Delete the server's ports, but for those that were given (ids): these are freed."""

    # --- security groups (of services that own ports) ---------------------------------------------------------------

    def groups_of_project(self, project_id: str) -> list[NamedGroup]:
        raise NotImplementedError

    def groups_of_server(self, server_uuid: str) -> list[str]:
        """Ids of the groups that the server's ports are in now, each once."""
        raise NotImplementedError

    def find_groups(self, project_id: str, names: Sequence[str]) -> list[str]:
        """Ids of a project's groups, by names or ids.

        :raises SecurityGroupNotFound, Conflict: there is none, or several.
        """
        raise NotImplementedError

    def join_group(self, server_uuid: str, group_id: str) -> bool:
        """Put a server's ports into a group; whether there is one that can be in any."""
        raise NotImplementedError

    def leave_group(self, server_uuid: str, group_id: str) -> bool:
        """Take a server's ports out of a group; whether one was in it."""
        raise NotImplementedError

    # --- a server's place -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def bind(self, vif: Vif, host: str) -> BoundVif:
        """Have the network service prepare for the interface on one more host, where it is not used yet."""

    @abc.abstractmethod
    def activate(self, port_id: str, host: str) -> None:
        """The guest is on `host` now."""

    @abc.abstractmethod
    def unbind(self, port_id: str, host: str) -> None:
        """The guest is not on `host` and will not come there. Never takes the place from under the guest: a binding that is
        the active one stays."""


class Embedded(NetworkBackend):
    """Ports are rows in our database, and hosts connect them as they are told."""

    owns_ports = False

    def allocate(self, owner: Owner, wanted: Sequence[WantedPort]) -> tuple[NetworkPort, ...]:
        return ()

    def networks_of(self, project_id: str) -> list[str]:
        return []

    def describe(self, server_uuid: str, known: Sequence[NetworkPort]) -> tuple[NetworkPort, ...]:
        return ()

    def release(self, server_uuid: str, given: Sequence[str]) -> None:
        """They go with the server's rows."""

    def bind(self, vif: Vif, host: str) -> BoundVif:
        return BoundVif(vif, awaited=False)

    def activate(self, port_id: str, host: str) -> None:
        """Nobody has to be told."""

    def unbind(self, port_id: str, host: str) -> None:
        """Nobody has to be told."""


def load(conf: cfg.ConfigOpts) -> NetworkBackend:
    """The backend that `[DEFAULT] network_backend` names."""
    if conf.network_backend == EMBEDDED:
        return Embedded(conf)
    manager: Any = stevedore.driver.DriverManager(
        NAMESPACE, conf.network_backend, invoke_on_load=True, invoke_args=(conf,), warn_on_missing_entrypoint=False
    )
    backend: NetworkBackend = manager.driver
    return backend
