# The float32 kernels of variant baseline: see setup.py for its flags.

include "kernels.pxi"
