"""Play the cases with both drivers in one laboratory, and print what came of them; the last line is JSON.

It fails when a case is wrong with our driver, or could not be played. What is wrong with Nova's is a result.
"""

from __future__ import annotations

import argparse
import sys

from labkit.errors import LabError
from labkit.lab import Lab
from novakit import laboratory, play, table
from novakit.cases import CASES, Case
from novakit.cloud import HOSTS, SLOW_MBIT_S, Cloud

COMMAND = "tools/test nova-faults"


def main(argv: list[str]) -> int:
    given = _arguments(argv)
    cases = [case for case in CASES if not given.words or any(word in case.name for word in given.words)]
    drivers = list(table.DRIVERS) if given.driver == "both" else [given.driver]
    results: dict[str, dict[str, play.Result]] = {driver: {} for driver in drivers}
    with laboratory.laboratory(drivers[0]) as lab:
        for driver in drivers:
            _use(lab, driver)
            for case in cases:
                if driver in case.drivers:
                    results[driver][case.name] = _play(lab, driver, case)
        versions = _versions(lab)
    print(table.text({driver: results.get(driver, {}) for driver in table.DRIVERS}))
    everything = table.kept()
    if given.write or all(len(own) == len(table.cases_of(driver)) for driver, own in everything.items()):
        table.DOCUMENT.write_text(table.document(everything, versions, COMMAND, SLOW_MBIT_S))
    else:
        print("doc/ is left as it is: not every case was played with both drivers")
    print(table.summary(results))
    ours = results.get("ours", {}).values()
    unplayed = [one for own in results.values() for one in own.values() if one.trouble]
    return 1 if unplayed or not all(one.held for one in ours) else 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("nova-faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only cases whose name has one of these words")
    parser.add_argument("--driver", choices=(*table.DRIVERS, "both"), default="both")
    parser.add_argument("--write", action="store_true", help="write doc/ with what was played so far, though cases are missing")
    return parser.parse_args(argv)


def _use(lab: Lab, driver: str) -> None:
    cloud = Cloud(lab)
    play.clear(cloud, by_force=True)
    for host in HOSTS:
        cloud.use_driver(host, driver)


def _play(lab: Lab, driver: str, case: Case) -> play.Result:
    """One case; one that could not be played is tried once more, in a laboratory that was built anew."""
    result = play.play(Cloud(lab), case)
    if result.trouble:
        print(f"{driver}: {case.name}: {result.trouble}; again", file=sys.stderr, flush=True)
        _rebuild(lab, driver)
        result = play.play(Cloud(lab), case)
    table.keep(driver, result)
    print(f"{driver:<5} {case.name}: {table.words(result)} ({result.seconds} s)", file=sys.stderr, flush=True)
    try:
        play.clear(Cloud(lab), by_force=not result.held)
    except play.ABSENT as error:
        print(f"{driver}: after {case.name}: {error}; the laboratory is built anew", file=sys.stderr, flush=True)
        _rebuild(lab, driver)
    return result


def _rebuild(lab: Lab, driver: str) -> None:
    lab.down()
    laboratory.bring_up(lab, driver)


def _versions(lab: Lab) -> str:
    program = "import importlib.metadata as m; print(m.version('nova'), m.version('openstack-placement'))"
    nova, placement = lab.run("controller", [_python(), "-c", program]).stdout.split()
    lines = lab.run(HOSTS[0], ["virsh", "version"]).stdout.splitlines()
    found = {line.split(":")[0]: line.split()[-1] for line in lines if ":" in line}
    libvirt, qemu = found.get("Using library", "?"), found.get("Running hypervisor", "?")
    return f"Nova {nova}, placement {placement}, libvirt {libvirt}, QEMU {qemu}, Python {sys.version.split()[0]}."


def _python() -> str:
    from labkit import nova_venv

    return nova_venv.program("python")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        print(f"nova-faults: {error}", file=sys.stderr)
        sys.exit(1)
