"""The bits of a slice depend on its values, its length and its dtype, and on nothing else."""

import numpy as np
import pytest

from conftest import fma_variants_under_test
from softmax_cy import _dispatch, softmax, softmax_jacobian

# Around the borders of lanes (8, 16), of blocks (2048, 4096), of what is kept in `out`, and beyond.
LENGTHS = [*range(1, 131), 255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 10_007, 70_001, 300_007]


def bits(array):
    """The bytes, so that NaN equals NaN and 0 differs from -0."""
    return np.ascontiguousarray(array).tobytes()


@pytest.fixture
def slices(dtype, rng):
    """One slice of each length."""
    return [(4 * rng.standard_normal(length)).astype(dtype) for length in LENGTHS]


def test_batch_size_and_position(variant, dtype, slices):
    for x in slices:
        alone = bits(softmax(x))
        for batch in (2, 3, 17, 64) if x.size < 5000 else (2,):
            rows = np.zeros((batch, x.size), dtype)
            for position in {0, batch // 2, batch - 1}:
                rows[...] = 1
                rows[position] = x
                assert bits(softmax(rows)[position]) == alone, x.size


def test_alignment(variant, dtype, slices):
    for x in slices[::3]:
        expected = bits(softmax(x))
        memory = np.empty(x.size + 16, dtype)
        target = np.empty(x.size + 16, dtype)
        for offset in range(16):
            view = memory[offset : offset + x.size]
            view[...] = x
            out = target[15 - offset :][: x.size]
            assert bits(softmax(view, out=out)) == expected, (x.size, offset)


def test_strides_and_axis(variant, dtype, slices):
    for x in slices:
        expected = bits(softmax(x))
        spread = np.zeros((x.size, 2), dtype)
        spread[:, 0] = x
        assert bits(softmax(spread[:, 0])) == expected, x.size
        assert bits(softmax(spread, axis=0)[:, 0]) == expected, x.size
        assert bits(softmax(np.asfortranarray(spread), axis=0)[:, 0]) == expected, x.size
        backwards = x[::-1].copy()[::-1]
        assert bits(softmax(backwards)) == expected, x.size
        middle = np.zeros((2, x.size, 2), dtype)
        middle[1, :, 1] = x
        assert bits(softmax(middle, axis=1)[1, :, 1]) == expected, x.size


def test_in_place(variant, slices):
    for x in slices:
        expected = bits(softmax(x))
        y = x.copy()
        assert bits(softmax(y, out=y)) == expected, x.size
        strided = np.repeat(x, 2)[::2]
        assert bits(softmax(strided, out=strided)) == expected, x.size


@pytest.mark.parametrize("num_threads", [1, 2, 3, 5, 8])
def test_number_of_threads(variant, num_threads, dtype, rng):
    x = rng.standard_normal((97, 4099)).astype(dtype)
    expected = bits(softmax(x, num_threads=1))
    assert bits(softmax(x, num_threads=num_threads)) == expected
    assert bits(softmax(x.T.copy().T, num_threads=num_threads)) == expected
    y = softmax(x[:7, :501])
    assert bits(softmax_jacobian(y, num_threads=num_threads)) == bits(softmax_jacobian(y, num_threads=1))


def test_repeated_runs(variant, slices):
    for x in slices[::10]:
        assert len({bits(softmax(x)) for _ in range(5)}) == 1


@pytest.mark.skipif(len(fma_variants_under_test()) < 2, reason="fewer than two variants with FMA can run here")
def test_all_fma_variants_agree(dtype, slices):
    before = _dispatch.variant_in_use
    digests = {}
    for variant in fma_variants_under_test():
        _dispatch.use(variant)
        y = [softmax(x) for x in slices]
        digests[variant] = [bits(result) for result in y] + [bits(softmax_jacobian(r)) for r in y if r.size < 300]
        for scale in (30, 300, 1e6):
            digests[variant] += [bits(softmax((scale * x).astype(dtype))) for x in slices]
    _dispatch.use(before)
    reference = digests[fma_variants_under_test()[0]]
    for variant, found in digests.items():
        assert found == reference, variant
