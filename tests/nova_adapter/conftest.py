"""These need Nova's environment and its test fixtures: `tools/test nova-own` runs them, pytest does not."""

collect_ignore_glob = ["*"]
