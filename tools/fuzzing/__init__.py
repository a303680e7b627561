"""The fuzzer: programs with arbitrary calls, what they should return, and the processes that run them.

program.py says what a program is, oracle.py what its call returns, strategies.py draws programs, runner.py runs them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # where the twins in long double are
