"""Everything is in setup.cfg, and pbr reads it. The version is the one declared there, in a clone with tags, without tags,
and in a bare copy of the files: pbr by itself would count commits, and refuse to build without git.
"""

import configparser
import os
import pathlib

import setuptools

_declared = configparser.ConfigParser()
_declared.read(pathlib.Path(__file__).parent / "setup.cfg")
os.environ.setdefault("PBR_VERSION", _declared["metadata"]["version"])

setuptools.setup(setup_requires=["pbr>=6.0.0"], pbr=True)
