"""Throw arbitrary arguments at every public function, for a while: `python tools/fuzz.py --seconds 60 --seed 1`.

Every example is a small program in plain NumPy: arrays of any shape, dtype and layout, options of any kind, one call.
What is checked:

- What is raised is a TypeError or a ValueError (AxisError is one). Before that nothing has been written.
- Arguments that are all good raise nothing; arguments of which one is known to be bad raise something.
- A result has the shape and the dtype that the documentation states, is `out` if that was given, nothing around `out`
  has been written, nor any input. Its values are those of the formula in long double, within a loose bound.
- No call crashes or hangs: the examples run in a child process, which writes down each before it runs it.

A finding is printed as a program that shows it, as short as could be found, and the exit status is 1. The same seed
gives the same examples.
"""

import sys

from fuzzing.runner import main

if __name__ == "__main__":
    sys.exit(main())
