"""``python -m softmax_cy``: show how the package was built and what it uses here."""

from softmax_cy import show_config

show_config()
