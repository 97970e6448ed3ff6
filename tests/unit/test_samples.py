"""The samples in etc/ are what the options and policies of this code say (`tox -e docs` makes them anew)."""

from __future__ import annotations

import configparser
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CONFIGURATION = "nova-blockmigrate.conf.sample"
POLICY = "policy.yaml.sample"


def generated(generator: str, settings: str, to: pathlib.Path) -> str:
    """What a generator of oslo writes for a settings file of ours, made in a process of its own."""
    arguments = [f"--config-file={ROOT / 'etc' / settings}", f"--output-file={to}"]
    code = f"import sys; from {generator} import {'main' if 'config' in generator else 'generate_sample'} as run; run()"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)
    return to.read_text()


@pytest.mark.parametrize(
    "generator, settings, sample",
    [
        ("oslo_config.generator", "oslo-config-generator.conf", CONFIGURATION),
        ("oslo_policy.generator", "oslo-policy-generator.conf", POLICY),
    ],
)
def test_sample_is_current(tmp_path: pathlib.Path, generator: str, settings: str, sample: str) -> None:
    committed = (ROOT / "etc/nova-blockmigrate" / sample).read_text()
    assert generated(generator, settings, tmp_path / sample) == committed, "run `tox -e docs` and commit what it writes"


def test_every_file_that_is_installed_exists() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["files"]["data_files"].splitlines()
    names = [name for line in lines for name in line.rpartition("=")[2].split()]
    assert [name for name in names if not list(ROOT.glob(name))] == []
