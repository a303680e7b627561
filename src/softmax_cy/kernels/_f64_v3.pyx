# The float64 kernels of variant v3: see setup.py for its flags.

include "kernels.pxi"
