"""Tempest's own clients against the product under test: they ask as Tempest does, and check answers by Tempest's schemas."""

from __future__ import annotations

import importlib
from typing import Any
from unittest import mock

from tempest.lib import auth
from tempest.lib.services.compute import base_compute_client

_CLIENTS = {
    "availability_zones": "availability_zone_client.AvailabilityZoneClient",
    "aggregates": "aggregates_client.AggregatesClient",
    "extensions": "extensions_client.ExtensionsClient",
    "flavors": "flavors_client.FlavorsClient",
    "hypervisors": "hypervisor_client.HypervisorClient",
    "interfaces": "interfaces_client.InterfacesClient",
    "keypairs": "keypairs_client.KeyPairsClient",
    "limits": "limits_client.LimitsClient",
    "migrations": "migrations_client.MigrationsClient",
    "quota_classes": "quota_classes_client.QuotaClassesClient",
    "quotas": "quotas_client.QuotasClient",
    "security_groups": "security_groups_client.SecurityGroupsClient",
    "server_groups": "server_groups_client.ServerGroupsClient",
    "servers": "servers_client.ServersClient",
    "services": "services_client.ServicesClient",
    "usages": "tenant_usages_client.TenantUsagesClient",
    "versions": "versions_client.VersionsClient",
}


class _Token(auth.AuthProvider):
    """A token that is there already, and one endpoint."""

    def __init__(self, endpoint: str, token: str) -> None:
        self._endpoint, self._token = endpoint, token
        self.cache = {"token": token}
        self.alt_auth_data = None
        self.alt_part = None
        self._scope = "project"
        self.credentials = mock.sentinel.credentials

    def _decorate_request(
        self, filters: Any, method: str, url: str, headers: Any = None, body: Any = None, auth_data: Any = None
    ) -> Any:
        return f"{self._endpoint}/{url}", {**(headers or {}), "X-Auth-Token": self._token}, body

    def _get_auth(self) -> Any:
        return self.cache

    def _fill_credentials(self, auth_data_body: Any) -> Any:
        return self.credentials

    def is_expired(self, auth_data: Any) -> bool:
        return False

    def base_url(self, filters: Any, auth_data: Any = None) -> str:
        return self._endpoint

    def get_token(self) -> str:
        return self._token


class Tempest:
    """Clients by the names above, at one microversion."""

    def __init__(self, endpoint: str, token: str, minor: int) -> None:
        self.minor = minor
        self._provider = _Token(endpoint, token)
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        base_compute_client.COMPUTE_MICROVERSION = f"2.{self.minor}"
        if name not in self._made:
            module, _, kind = _CLIENTS[name].partition(".")
            found = importlib.import_module(f"tempest.lib.services.compute.{module}")
            self._made[name] = getattr(found, kind)(self._provider, "compute", "region")
        return self._made[name]


def turning_points(*names: str, last: int = 96) -> list[int]:
    """The microversions, up to `last`, with which one of these clients' schemas begins or ends."""
    found = {1, last}
    for name in names:
        module, _, kind = _CLIENTS[name].partition(".")
        client = getattr(importlib.import_module(f"tempest.lib.services.compute.{module}"), kind)
        for known in (info for each in dir(client) if each.startswith("schema_versions") for info in getattr(client, each)):
            found |= {int(known[end].partition(".")[2]) for end in ("min", "max") if known[end]}
    return sorted(minor for minor in found if minor <= last)
