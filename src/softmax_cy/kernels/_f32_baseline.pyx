# The float32 kernels of variant baseline, which _variants.py describes. Written by tools/write_shims.py.

include "kernels.pxi"
