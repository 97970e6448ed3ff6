"""host preflight: what an administrator configures on a host by hand, checked on that host."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oslo_config import cfg

from nova_blockmigrate.cmd import preflight_tables
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.objects import CheckResult, to_primitive


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("host", help="this host").add_subparsers(metavar="VERB", required=True)
    preflight = verbs.add_parser("preflight", help="check how this host is configured; exit code 1 when something is wrong")
    preflight.add_argument("--peer", metavar="HOST", help="check the way to this host, too; run it there for the way back")
    output.add_json_option(preflight)
    preflight.set_defaults(run=_preflight)


def _preflight(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    from nova_blockmigrate.cmd.hostcheck import judging, probing

    findings = judging.judge(probing.probe(conf, arguments.peer))
    records = [to_primitive(finding) for finding in findings]
    print(json.dumps(records, indent=1) if arguments.json else preflight_tables.findings_table(records))
    return 1 if any(finding.result is CheckResult.FAILED for finding in findings) else 0
