"""Every test of numbers runs over every variant of the kernels that was built and that this CPU can run."""

import os

import numpy as np
import pytest

from softmax_cy import _dispatch

FORCED = os.environ.get(_dispatch.ENVIRONMENT_VARIABLE)


@pytest.fixture(params=[FORCED] if FORCED else _dispatch.runnable_variants())
def variant(request):
    """Put one variant in use for the test."""
    before = _dispatch.variant_in_use
    _dispatch.use(request.param)
    yield request.param
    _dispatch.use(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each dtype with kernels of its own."""
    return np.dtype(request.param)
