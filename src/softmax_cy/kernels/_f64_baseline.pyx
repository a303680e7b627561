# The float64 kernels of variant baseline: see setup.py for its flags.

include "kernels.pxi"
