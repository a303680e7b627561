"""How fast softmax_cy is, beside other libraries: `make race`."""
