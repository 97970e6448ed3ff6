"""The page `doc/microversions.rst`, made from the table below and the routes: `python -m nova_blockmigrate.api.history`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from nova_blockmigrate.api import handlers, microversions, routes

NOTHING = "–"
"""What it changes is not served here."""

MEANINGS: dict[int, str] = {
    1: "The beginning: what every later one builds on.",
    2: "Key pairs have a type (ssh, x509); making one answers 201, deleting one 204.",
    3: "Servers show more to administrators: reservation, kernel, host name, root device, user data; volumes show whether they go "
    "with the server.",
    4: NOTHING,
    5: "Users, too, may filter servers by ip6.",
    6: NOTHING,
    7: "Access to a flavor that is public cannot be given (409).",
    8: NOTHING,
    9: "Servers show whether they are locked.",
    10: "Key pairs of another user, for administrators: user_id in query and body.",
    11: "Services show forced_down, and force-down sets it.",
    12: NOTHING,
    13: "Server groups show project and user.",
    14: NOTHING,
    15: "Server groups: soft-affinity and soft-anti-affinity.",
    16: "Servers show host_status to administrators.",
    17: NOTHING,
    18: "The project may be left out of the path. Here both forms are taken in every microversion.",
    19: "Servers have a description; below, the name stands for it.",
    20: NOTHING,
    21: "Actions of deleted servers can be read.",
    22: "force_complete of a running migration.",
    23: "A server's running migrations are listed and shown; os-migrations shows type and links.",
    24: "A running migration can be aborted.",
    25: 'os-migrateLive: block_migration may be "auto"; disk_over_commit is gone.',
    26: "Tags of servers, and filters by them.",
    27: "OpenStack-API-Version. Here both headers are taken in every microversion.",
    28: "cpu_info of hypervisors is an object, no longer text.",
    29: NOTHING,
    30: "os-migrateLive: force. Without it the checks run on a named host, too; here they do in any case.",
    31: NOTHING,
    32: "Tags of devices at boot: not taken (400).",
    33: "Hypervisors come in pages.",
    34: "os-migrateLive answers before the checks; what they find is in the migration and the instance action.",
    35: "Key pairs come in pages, by name.",
    36: "What stands for other services is gone: os-security-groups, and quotas and limits of networks.",
    37: 'Networks must be said when a server is made; "none" and "auto" are words for it.',
    38: "A status that does not exist is refused as a filter (400).",
    39: "maxImageMeta is gone from the limits.",
    40: "Usage of projects comes in pages.",
    41: "Aggregates have a uuid; there are none here.",
    42: "Tags of devices at boot again: not taken (400).",
    43: NOTHING,
    44: NOTHING,
    45: NOTHING,
    46: "The request id is told as X-OpenStack-Request-ID, too. Here in every microversion.",
    47: "Servers show the flavor as it was when they were made, instead of its id.",
    48: NOTHING,
    49: "A volume may be attached with a tag.",
    50: "os-quota-class-sets: quotas of server groups come, those of networks go.",
    51: "Events of an action are shown to its project, without traces. External event volume-extended.",
    52: "Tags may be given when a server is made.",
    53: "Services and hypervisors have uuids; one PUT changes a service; hypervisors are searched and shown with servers by query.",
    54: NOTHING,
    55: "Flavors have a description, which PUT changes.",
    56: NOTHING,
    57: "Injected files are gone from limits and quotas; they were never taken here.",
    58: "Actions come in pages, by changes-since, and show updated_at.",
    59: "Migrations come in pages, by changes-since, and have uuids; parameters that do not exist are refused.",
    60: "Volumes for several servers at a time: not served.",
    61: "Flavors show their extra specs.",
    62: "Events show hostId, and host to administrators.",
    63: "Servers show trusted_image_certificates (always null here).",
    64: "Server groups have one policy, and rules for it.",
    65: "A migration may be aborted while it is queued or prepared.",
    66: "changes-before for servers, actions and migrations.",
    67: NOTHING,
    68: "os-migrateLive: force is gone.",
    69: "What is known of servers whose cell is away. There is one cell: nothing ever is missing.",
    70: "Tags of volumes and interfaces are shown.",
    71: "A server shows the group that it is in.",
    72: NOTHING,
    73: "A lock may have a reason; servers are filtered and sorted by locked.",
    74: "A server may be made on a host named by itself, apart from the zone.",
    75: "Unknown parameters are refused; PUT of a server answers as GET; swap of flavors is a number; hypervisors without servers "
    "say so.",
    76: "External event power-update: taken, without effect.",
    77: NOTHING,
    78: NOTHING,
    79: "delete_on_termination of a volume may be said when it is attached, and is shown.",
    80: "Migrations show user and project, and are filtered by them.",
    81: NOTHING,
    82: "External event accelerator-request-bound: taken, without effect.",
    83: "Users may filter servers by zone, key, states, times and more.",
    84: "Events of actions that failed have details, for administrators.",
    85: "delete_on_termination of a volume can be changed.",
    86: "Known extra specs are checked. Here none is known: all are taken as they are.",
    87: NOTHING,
    88: "Hypervisors show uptime and no figures; statistics and uptime are gone as resources.",
    89: "Volume attachments show attachment_id and bdm_uuid instead of id.",
    90: "The host name of a server can be said and changed, and is shown to its project.",
    91: NOTHING,
    92: 'Key pairs are not generated any more; names may have "@" and ".".',
    93: "External event volume-reimaged: taken, without effect.",
    94: "The host name may be a full one, with dots.",
    95: NOTHING,
    96: "Servers show the zone that they are pinned to.",
}

_HEAD = """\
..
    Made by `python -m nova_blockmigrate.api.history > doc/microversions.rst`. Change the code, not this page.

=============
Microversions
=============

What each microversion of the Compute API changes here. "–" says that it changes something of Nova that is not served: servers
are not rebuilt, resized, evacuated, shelved or rescued, have no consoles but the text of one, and interfaces are not attached
to them while they run. The last column is read from the code: requests whose body, parameters or being there change. What
changes in answers is held to Tempest's schemas by ``tests/api/test_tempest_schemas.py``.

"""


def turning_points() -> dict[int, list[str]]:
    """For each microversion the routes that begin or end with it, or take another body or other parameters."""
    for module in pkgutil.iter_modules(handlers.__path__):
        importlib.import_module(f"{handlers.__name__}.{module.name}")
    found: dict[int, list[str]] = {}
    for each in routes.declared:
        turns = {each.minimum, each.maximum + 1}
        for versioned in (each.body, each.query):
            turns |= set(versioned.turns) if versioned is not None else set()
        name = f"{each.method} {each.path.removeprefix(routes.PREFIX)}" + (f" {each.action}" if each.action else "")
        for minor in turns:
            if microversions.MINIMUM < minor <= microversions.MAXIMUM:
                found.setdefault(minor, []).append(name)
    return {minor: sorted(set(names)) for minor, names in found.items()}


def document() -> str:
    """The page, as reStructuredText."""
    turns = turning_points()
    lines = [_HEAD + ".. list-table::", "   :header-rows: 1", "   :widths: 6 50 44", ""]
    lines += ["   * - 2.", "     - Change", "     - Requests"]
    for minor, meaning in MEANINGS.items():
        shown = ", ".join(f"``{name}``" for name in turns.get(minor, []))
        lines += [f"   * - {minor}", f"     - {meaning}", f"     - {shown}".rstrip()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
