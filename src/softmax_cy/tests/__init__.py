"""The core of the tests, for any machine with NumPy and pytest: ``pytest --pyargs softmax_cy``."""
