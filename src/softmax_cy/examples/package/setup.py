"""The extension; all else is in pyproject.toml."""

from setuptools import Extension, setup

import softmax_cy

setup(ext_modules=[Extension("entropy", ["entropy.c"], include_dirs=[softmax_cy.get_include()])])
