"""Who may do what unless policy.yaml says otherwise: rule for rule as in Nova 34.0.0, whose defaults are in a table beside this."""

from __future__ import annotations

import json
import pathlib

from nova_blockmigrate import policies

NOVA = json.loads(pathlib.Path(__file__).with_name("nova_policy_defaults.json").read_text())
OURS = {"blockmigrate:preflight", "embedded:images:read", "embedded:networks:read"}
"""Of what Nova does not have, or leaves to other services."""


def test_defaults_are_those_of_nova() -> None:
    defaults = {rule.name: rule.check_str for rule in policies.list_rules() if rule.name not in OURS}
    assert defaults == NOVA
