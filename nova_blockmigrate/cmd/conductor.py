"""nova-blockmigrate-conductor: the service that runs migrations."""

import sys

from nova_blockmigrate.cmd import process


def _make(conf):  # type: ignore[no-untyped-def]
    from nova_blockmigrate.conductor.service import ConductorService

    return ConductorService(conf)


def main() -> int:
    return process.run("nova-blockmigrate-conductor", _make)


if __name__ == "__main__":
    sys.exit(main())
