"""Runs the clients' commands of `commands.py`, and judges what they did."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

from commands import Command

RUNNER = pathlib.Path(__file__).with_name("command_runner.py")


class CommandClient:
    """One of the clients, imported once: a process of `command_runner.py`, with pipes of text."""

    def __init__(self, process: subprocess.Popen[Any], before: tuple[str, ...] = ()) -> None:
        self._process, self._before = process, before

    def run(self, words: list[str]) -> tuple[int, str]:
        """Exit code and output of a command."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([*self._before, *words]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["output"]

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def judge(client: CommandClient, command: Command, known: dict[str, str]) -> str:
    """What is wrong with what the command did, in words."""
    words = command.words.format(**known)
    code, output = client.run(words.split()[1:])
    if command.fails:
        return "" if code and command.fails in output else f"{words}: {code}, not refused as wanted: {output[-500:]}"
    if code:
        return f"{words}: ended with {code}: {output[-500:]}"
    return "" if command.says.format(**known) in output else f"{words}: does not say {command.says}: {output[-500:]}"
