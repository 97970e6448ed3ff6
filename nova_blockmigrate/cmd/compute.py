"""nova-blockmigrate-compute: the service on each host."""

import sys

from nova_blockmigrate.cmd import process


def _make(conf):  # type: ignore[no-untyped-def]
    from nova_blockmigrate.compute.service import ComputeService

    return ComputeService(conf)


def main() -> int:
    return process.run("nova-blockmigrate-compute", _make)


if __name__ == "__main__":
    sys.exit(main())
