"""Real API, conductors and compute services with guests in memory, on PostgreSQL and RabbitMQ of their own (`benchkit.scale`)."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
