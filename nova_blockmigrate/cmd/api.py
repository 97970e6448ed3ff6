"""nova-blockmigrate-api: the REST service."""

import sys

from nova_blockmigrate.cmd import process


def _make(conf):  # type: ignore[no-untyped-def]
    from nova_blockmigrate.api.server import ApiService

    return ApiService(conf)


def main() -> int:
    return process.run("nova-blockmigrate-api", _make)


if __name__ == "__main__":
    sys.exit(main())
