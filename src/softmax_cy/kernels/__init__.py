"""The kernels: the same source compiled once for each dtype and variant, of which `_dispatch` imports one."""
