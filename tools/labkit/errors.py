"""The laboratory's own errors: what happened, and where to look."""

from pathlib import Path


class LabError(Exception):
    """The laboratory cannot do what was asked; the message is for a person."""


class CommandFailed(LabError):
    """A program ended with an error."""

    def __init__(self, argv: list[str], code: int, output: str) -> None:
        super().__init__(f"`{' '.join(argv)}` ended with {code}: {output.strip()[-2000:] or 'no output'}")
        self.argv, self.code, self.output = argv, code, output


class StepFailed(LabError):
    """A step of `up` failed; `log` is the file that should say why."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log
