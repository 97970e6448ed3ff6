"""The laboratory's emulator passes everything on to QEMU, with a memory that is no multiple of 64 pages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EMULATOR = Path(__file__).parents[3] / "tools/labkit/emulator/qemu-system-x86_64"


@pytest.fixture
def passed_on(tmp_path: Path) -> Callable[..., list[str]]:
    """What QEMU would be started with."""
    told = tmp_path / "qemu"
    told.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    told.chmod(0o755)

    def run(*arguments: str) -> list[str]:
        command = [str(EMULATOR), *arguments]
        return subprocess.run(command, env={"NBM_QEMU": str(told)}, capture_output=True, text=True, check=True).stdout.split("\0")[
            :-1
        ]

    return run


def test_both_places_that_say_the_memory_say_the_same(passed_on: Callable[..., list[str]]) -> None:
    memory = json.dumps(
        {"qom-type": "memory-backend-ram", "id": "pc.ram", "size": 256 * 1024**2, "share": True}, separators=(",", ":")
    )
    _, said, _, backend = passed_on("-m", "256", "-object", memory)

    assert said == f"{256 * 1024 + 8}k"
    assert json.loads(backend) == {"qom-type": "memory-backend-ram", "id": "pc.ram", "size": (256 * 1024 + 8) * 1024, "share": True}


def test_the_newer_way_to_say_it_is_known(passed_on: Callable[..., list[str]]) -> None:
    assert passed_on("-m", "size=262144k,slots=3") == ["-m", "size=262152k,slots=3"]


def test_nothing_else_changes(passed_on: Callable[..., list[str]]) -> None:
    others = ["-name", "guest=a b,debug-threads=on", "-object", '{"qom-type":"secret","id":"m"}', "", "-smp", "1", "*"]
    assert passed_on(*others) == others


def test_a_size_that_is_not_understood_is_refused() -> None:
    refused = subprocess.run([str(EMULATOR), "-m", "1G"], capture_output=True, text=True, check=False)

    assert refused.returncode == 1
    assert "-m 1G" in refused.stderr
