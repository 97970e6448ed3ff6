"""Breaks things while a guest moves, and looks at what became of it: `tools/test faults` (doc/faults.rst).

`cases.py` is the table of what is broken where; `breaks.py` how; `stage.py` the laboratory and the guest; `world.py` and
`checker.py` look at the real world afterwards; `runner.py` runs one case; `matrix.py` prints and writes what came of all.
"""
