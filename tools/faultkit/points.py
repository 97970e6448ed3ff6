"""Arms the named points of our services (`nova_blockmigrate.breakpoints`), and sees when one is reached."""

import sys
from pathlib import Path

from labkit import services
from labkit.commands import wait_until
from labkit.lab import Lab
from labkit.layout import REPOSITORY

sys.path.insert(0, str(REPOSITORY))
from nova_blockmigrate.breakpoints import ARMED, BY_NAME, POINTS, REACHED

__all__ = ["BY_NAME", "POINTS", "Point", "clear_all"]
ROLES = {"api": "controller", "conductor": "controller"}


class Point:
    """One point on the machine where it will be reached."""

    def __init__(self, lab: Lab, name: str, source: str, destination: str) -> None:
        where = BY_NAME[name].where
        machine = {**ROLES, "source": source, "destination": destination}[where]
        folder = services.breakpoints_folder(lab.machine(machine))
        self.name = name
        self._armed, self._reached = folder / f"{name}{ARMED}", folder / f"{name}{REACHED}"

    def arm(self) -> None:
        self.clear()
        self._armed.touch()

    def is_reached(self) -> bool:
        return self._reached.exists()

    def wait(self, timeout_s: float) -> None:
        """LabError when nobody comes there in time."""
        wait_until(self.is_reached, timeout_s, f"{self.name} is reached", interval_s=0.002)

    def clear(self) -> None:
        """Let go whoever is held here; hold nobody."""
        for path in (self._armed, self._reached):
            path.unlink(missing_ok=True)


def clear_all(lab: Lab) -> None:
    for machine in lab.layout.machines:
        folder: Path = services.breakpoints_folder(machine)
        for path in (*folder.glob(f"*{ARMED}"), *folder.glob(f"*{REACHED}")):
            path.unlink(missing_ok=True)
