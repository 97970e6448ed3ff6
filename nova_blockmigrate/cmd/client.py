"""nova-blockmigrate: what administrators ask the API beyond Nova's, with the same OS_* environment as `nova`.

Exit codes: 0 the server may move, 1 it may not, 2 wrong usage or no answer.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.parse
from typing import Any

PROGRAM = "nova-blockmigrate"
ACCEPTABLE, NOT_ACCEPTABLE, NO_ANSWER = 0, 1, 2
_VERSION_PART = re.compile(r"/v\d+(\.\d+)?(/.*)?$")


class NoAnswer(Exception):
    """What was asked for could not be had; the reason is for the user."""


def main(argv: list[str] | None = None) -> int:
    from keystoneauth1 import exceptions

    words = sys.argv[1:] if argv is None else argv
    arguments = _parser(words).parse_args(words)
    if arguments.list:
        _print_checks()
        return ACCEPTABLE
    if arguments.server is None:
        print(f"{PROGRAM} preflight: name a SERVER (or ask for --list)", file=sys.stderr)
        return NO_ANSWER
    try:
        report = _Api(arguments).preflight(arguments.server, arguments.host, arguments.block_migration)
    except exceptions.HttpError as error:
        return _complain(_said(error))
    except (exceptions.ClientException, NoAnswer) as error:
        return _complain(str(error))
    _show(report, arguments.host, arguments.json)
    return ACCEPTABLE if any(host["acceptable"] for host in report["hosts"]) else NOT_ACCEPTABLE


def _complain(reason: str) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return NO_ANSWER


# --- the command line ------------------------------------------------------------------------------------------------


def _parser(words: list[str]) -> argparse.ArgumentParser:
    from keystoneauth1 import loading

    parser = argparse.ArgumentParser(prog=PROGRAM, description="Asks nova-blockmigrate beyond what `nova` can ask.")
    parser.set_defaults(auth_type="password")
    loading.register_auth_argparse_arguments(parser, words, default="password")
    loading.register_session_argparse_arguments(parser)
    loading.register_adapter_argparse_arguments(parser, service_type="compute")
    preflight = parser.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "preflight", help="run every check of a live migration, and estimate it, without migrating"
    )
    preflight.add_argument("server", nargs="?", metavar="SERVER", help="name or id")
    preflight.add_argument("host", nargs="?", metavar="HOST", help="destination; without it every host is looked at and ranked")
    preflight.add_argument("--json", action="store_true", help="print the report as JSON")
    preflight.add_argument("--list", action="store_true", help="list all checks: id, where, title (asks nobody)")
    preflight.add_argument("--block-migration", choices=("auto", "true", "false"), default="auto", help="default: auto")
    return parser


# --- the API ---------------------------------------------------------------------------------------------------------


class _Api:
    def __init__(self, arguments: argparse.Namespace) -> None:
        from keystoneauth1 import adapter, loading

        auth = loading.load_auth_from_argparse_arguments(arguments)
        session = loading.load_session_from_argparse_arguments(arguments, auth=auth)
        self._adapter = adapter.Adapter(
            session,
            service_type=arguments.os_service_type,
            service_name=arguments.os_service_name,
            interface=arguments.os_interface,
            region_name=arguments.os_region_name,
            endpoint_override=arguments.os_endpoint_override,
        )
        endpoint = self._adapter.get_endpoint()
        if not endpoint:
            raise NoAnswer("no endpoint of the compute service is known: set OS_ENDPOINT, or look at Keystone's catalogue")
        self._root = _VERSION_PART.sub("", endpoint.rstrip("/"))

    def preflight(self, server: str, host: str | None, block_migration: str) -> dict[str, Any]:
        query = {"block_migration": block_migration} | ({"host": host} if host else {})
        path = f"/blockmigrate/v1/servers/{self._server_id(server)}/preflight?{urllib.parse.urlencode(query)}"
        report: dict[str, Any] = self._get(path)["preflight"]
        return report

    def _server_id(self, name: str) -> str:
        """
        :raises NoAnswer: no server, or several, of that name.
        """
        pattern = urllib.parse.quote(f"^{re.escape(name)}$")
        named = self._get(f"/v2.1/servers?all_tenants=1&name={pattern}")["servers"]
        found = [server["id"] for server in named if server["name"] == name] or [name]
        if len(found) > 1:
            raise NoAnswer(f"{len(found)} servers are called {name}: give the id ({', '.join(found)})")
        return urllib.parse.quote(str(found[0]), safe="")

    def _get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._adapter.get(self._root + path, headers={"Accept": "application/json"}).json()
        return answer


def _said(error: Any) -> str:
    """The API's own words."""
    try:
        (fault,) = error.response.json().values()
        return f"{fault['message']} (HTTP {error.http_status})"
    except (AttributeError, ValueError, TypeError, KeyError):
        return str(error)


# --- what is printed -------------------------------------------------------------------------------------------------


def _print_checks() -> None:
    from nova_blockmigrate.conductor.preflight import CHECKS

    rows = [(check.id, check.where, check.title) for check in CHECKS.values()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for id, where, title in rows:
        print(f"{id:<{widths[0]}}  {where:<{widths[1]}}  {title}")


def _show(report: dict[str, Any], host: str | None, as_json: bool) -> None:
    from nova_blockmigrate.cmd import preflight_tables

    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print(preflight_tables.render(report, host))


if __name__ == "__main__":
    sys.exit(main())
