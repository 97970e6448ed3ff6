"""The checks before a migration: small functions of facts, all of them run, in one report."""

from nova_blockmigrate.conductor.preflight import (  # noqa: F401 - registers the checks
    article,
    destination,
    interfaces,
    route,
    source,
    storage,
    versions,
)
from nova_blockmigrate.conductor.preflight.facts import Facts, HostFacts
from nova_blockmigrate.conductor.preflight.registry import CHECKS, Report, evaluate

__all__ = ["CHECKS", "Facts", "HostFacts", "Report", "evaluate"]
