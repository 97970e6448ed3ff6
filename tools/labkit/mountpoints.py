"""The folders on the machine's own disk that laboratories mount over: made where missing, removed with the last user.

Mounts are each laboratory's own, but the folders below them are shared, and removing one would take the mount of another
laboratory away. So a small register in /run says who uses them and which were made by us.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from labkit.layout import Layout
from labkit.locks import locked_folder

_REGISTER = Path("/run/nova-blockmigrate-lab")
_NAMESPACES = Path("/run/netns")


class Register(TypedDict):
    users: dict[str, str]
    made: list[str]


@contextlib.contextmanager
def _locked() -> Iterator[Register]:
    """The register, ours alone; what the caller changes in it is kept, and it vanishes when nobody uses it."""
    with locked_folder(_REGISTER):
        path = _REGISTER / "register.json"
        register: Register = json.loads(path.read_text()) if path.exists() else {"users": {}, "made": []}
        yield register
        if register["users"]:
            path.write_text(json.dumps(register))
        else:
            path.unlink(missing_ok=True)
            _REGISTER.rmdir()


def acquire(layout: Layout, folders: tuple[str, ...]) -> None:
    """Register the laboratory as a user of these folders and make those that are missing."""
    with _locked() as register:
        register["users"][layout.id] = str(layout.state)
        for folder in (*folders, str(_NAMESPACES)):
            missing = [path for path in (Path(folder), *Path(folder).parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir()
                register["made"].append(str(path))


def release(layout: Layout) -> None:
    """Forget the laboratory; the last one to go removes the folders that were made, as far as they are empty."""
    with _locked() as register:
        register["users"].pop(layout.id, None)
        for user, state in list(register["users"].items()):
            if not Path(state).exists():
                del register["users"][user]
        if not register["users"]:
            for folder in sorted(register["made"], reverse=True):
                _remove(Path(folder))


def _remove(folder: Path) -> None:
    if folder == _NAMESPACES and not any(folder.iterdir()):
        # `ip netns add` mounts the folder onto itself.
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)
    with contextlib.suppress(OSError):
        folder.rmdir()
