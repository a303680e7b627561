# The float32 kernels of variant v3, which _variants.py describes. Written by tools/write_shims.py.

include "kernels.pxi"
