"""Every variant with FMA gives the recorded bits: see golden.py."""

import numpy as np
import pytest

import golden
import softmax_cy
from conftest import fma_variants_under_test


@pytest.mark.parametrize("variant", fma_variants_under_test(), indirect=True)
@pytest.mark.parametrize("dtype", golden.DTYPES)
def test_golden_bits(variant, dtype):
    found, recorded = golden.digests(softmax_cy, dtype), golden.recorded()[dtype]
    new = found["near"].keys() - recorded["near"].keys()
    assert not new, f"results of the list without digests, run tools/golden.py: {', '.join(sorted(new))}"
    different = golden.differences(found, recorded)
    assert not different, f"{len(different)} digests differ, such as {different[:8]}"


def test_the_inputs_are_what_they_were():
    """Or another digest would say nothing about the kernels."""
    assert golden.integers(2, seed=0).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert golden.integers(1, seed=1).tolist() == [0x46093CF9861EC2E4]
    for dtype in golden.DTYPES:
        x, v, target = golden.inputs("near", 5, dtype)
        assert x.dtype == v.dtype == dtype
        assert x[0, :2].tolist() == [6.132972717285156, -1.0955524444580078]
        assert target.tolist() == [1, 0, 0]
        for kind in golden.UNITS:
            x, v, _ = golden.inputs(kind, 300, dtype)
            assert (x == x.astype(np.float32)).all()
            assert (v == v.astype(np.float32)).all()


def test_a_single_bit_shows():
    """The digests see every element of every result."""

    class OneBitOff:
        def __getattr__(self, name):
            return getattr(softmax_cy, name)

        @staticmethod
        def logsumexp(x, scale=1.0):
            result = softmax_cy.logsumexp(x, scale=scale)
            result[-1] = np.nextafter(result[-1], np.inf) if (x.shape[-1], scale) == (4097, 1) else result[-1]
            return result

    dtype = "float32"
    different = golden.differences(golden.digests(OneBitOff(), dtype), golden.digests(softmax_cy, dtype))
    assert sorted(different) == sorted((kind, "logsumexp", "4097") for kind in golden.UNITS)
