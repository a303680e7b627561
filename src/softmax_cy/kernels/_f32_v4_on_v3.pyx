# The float32 kernels of variant v4_on_v3: see setup.py for its flags.

include "kernels.pxi"
