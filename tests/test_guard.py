"""No function reads or writes a byte beyond its arrays: each ends, or begins, at a page that nobody may touch.

A sample here; all of it by `make guard`. What the calls are, and on what, is in guarded.py.
"""

import mmap
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import guarded
from conftest import variants_under_test
from operations import FUNCTIONS

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="needs mprotect")


def run(tmp_path, *arguments):
    """How a process ended, and the last call it began."""
    log = tmp_path / "log"
    log.write_bytes(bytes(1024))
    command = [sys.executable, "-X", "faulthandler", guarded.__file__, str(log), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, log.read_bytes().rstrip(b" \0").decode()


def test_no_function_is_left_out():
    missing = {function.__name__ for function in FUNCTIONS} - {operation.function for operation in guarded.OPERATIONS}
    assert not missing, f"add {', '.join(sorted(missing))} to OPERATIONS in tests/guarded.py"


@pytest.mark.parametrize("which", ["input", "output"])
def test_one_element_too_many_is_seen_and_the_call_named(tmp_path, which):
    done, call = run(tmp_path, variants_under_test()[0], "one too many", which)
    assert (done.returncode, call) == (-signal.SIGSEGV, "a log")
    assert "call_with_one_element_too_many" in done.stderr


def check(tmp_path, variant, mode, which):
    if mode == "streamed" and not Path("/sys/devices/system/cpu/cpu0/cache").is_dir():
        pytest.skip("the system does not tell the size of its caches: there is nothing to make smaller")
    done, call = run(tmp_path, variant, mode, which)
    assert done.returncode == 0, f"{call}\n{done.stderr}"
    assert int(done.stdout) > 10_000


@pytest.mark.parametrize("mode", ["plain", "streamed"])
@pytest.mark.parametrize("variant", variants_under_test())
def test_a_sample(tmp_path, variant, mode):
    check(tmp_path, variant, mode, "sample")


@pytest.mark.guard
@pytest.mark.parametrize("mode", ["plain", "streamed"])
@pytest.mark.parametrize("variant", variants_under_test())
def test_all(tmp_path, variant, mode):
    check(tmp_path, variant, mode, "all")
