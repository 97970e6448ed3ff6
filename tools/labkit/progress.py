"""What `up` and `down` tell while they work: one line a step, with the seconds it took."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from labkit.errors import StepFailed


class Progress:
    """Prints to standard error, so that standard output stays for answers; silent when told so."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    @contextlib.contextmanager
    def step(self, title: str, log: Path | None = None) -> Iterator[None]:
        """One step; a failure inside becomes StepFailed, which names the step and the log to read."""
        began = time.monotonic()
        try:
            yield
        except KeyboardInterrupt as error:
            self._print(title, began, "interrupted")
            error.add_note(title if log is None else f"{title} (log: {log})")
            raise
        except Exception as error:  # the border of a step: whatever it was, say which step failed and where to look
            self._print(title, began, "FAILED")
            log = getattr(error, "log", None) or log
            raise StepFailed(f"{title}: {error}", log) from error
        self._print(title, began)

    def _print(self, title: str, began: float, result: str = "") -> None:
        if not self._quiet:
            print(f"{title:.<52} {time.monotonic() - began:5.1f} s {result}".rstrip(), file=sys.stderr, flush=True)

    def finish(self, message: str) -> None:
        if not self._quiet:
            print(f"{message} ({time.monotonic() - self._began:.1f} s)", file=sys.stderr, flush=True)


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, for a person."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error})"
