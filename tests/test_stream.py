"""Results that are larger than the caches are written past them: the same bits, wherever rows begin within a line.

What is computed is in streamed.py.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import streamed
from conftest import variants_under_test

pytestmark = pytest.mark.skipif(
    not Path("/sys/devices/system/cpu/cpu0/cache").is_dir(),
    reason="the system does not tell the size of its caches: there is nothing to make smaller",
)


def digest(variant, caches):
    command = [sys.executable, streamed.__file__, variant, caches]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("variant", variants_under_test())
def test_streamed_results_have_the_same_bits(variant):
    usual = digest(variant, "usual caches")
    assert len(usual.strip()) == 64
    assert digest(variant, "small caches") == usual
