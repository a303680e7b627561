# The float32 kernels of variant v4_on_v3, which _variants.py describes. Written by tools/write_shims.py.

include "kernels.pxi"
