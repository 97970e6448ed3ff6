"""The laboratory's modules are no part of the installed product: they are found beside `tools/lab`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
