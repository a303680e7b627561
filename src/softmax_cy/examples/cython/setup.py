"""python setup.py build_ext --inplace."""

from setuptools import Extension, setup

OPENMP = ["-fopenmp"]

setup(
    name="attention",
    ext_modules=[Extension("attention", ["attention.pyx"], extra_compile_args=OPENMP, extra_link_args=OPENMP)],
)
