# The source of every kernel module. Cython translates it once: the C of the modules differs in their names alone, which
# tools/write_kernel_modules.py puts in the place of this one.

include "kernels.pxi"
