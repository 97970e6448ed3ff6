"""Runs programs and waits for conditions. Nothing here knows what a laboratory is."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from labkit.errors import CommandFailed, LabError


def run(
    argv: Sequence[str],
    *,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    check: bool = True,
    timeout_s: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with its output kept; CommandFailed unless it ends with 0 or `check` is off."""
    try:
        done = subprocess.run(
            list(argv),
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(list(argv), -1, f"no end after {timeout_s} s") from error
    if check and done.returncode != 0:
        raise CommandFailed(list(argv), done.returncode, done.stderr or done.stdout)
    return done


def output(argv: Sequence[str], **options: object) -> str:
    return run(argv, **options).stdout.strip()  # type: ignore[arg-type]


def wait_until(
    condition: Callable[[], bool],
    timeout_s: float,
    what: str,
    *,
    interval_s: float = 0.05,
    still_possible: Callable[[], bool] = lambda: True,
) -> None:
    """Ask until `condition` holds; LabError when it does not in time, or at once when it no longer can."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if not still_possible():
            raise LabError(f"{what}: the process has ended")
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not after {timeout_s:.0f} s")
        time.sleep(interval_s)
