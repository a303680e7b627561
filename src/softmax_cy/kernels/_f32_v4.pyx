# The float32 kernels of variant v4: see setup.py for its flags.

include "kernels.pxi"
