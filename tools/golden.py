"""Write or check the digests of the bits that every variant with FMA must give: `python tools/golden.py [--check]`.

Written with one variant, checked with all that run here. The library is the one that Python finds, so that
`make golden-clang` checks another compiler's build against the same file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import golden
import softmax_cy
from softmax_cy import _dispatch


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    variants = [name for name in _dispatch.runnable_variants() if _dispatch.VARIANTS[name].has_fma]
    if not variants:
        sys.exit("no variant with FMA can run here")
    if not options.check:
        _dispatch.use(variants[0])
        found = {dtype: golden.digests(softmax_cy, dtype) for dtype in golden.DTYPES}
        golden.write(found)
        print(f"{golden.DIGESTS} and {golden.SUMMARIES}: written with {variants[0]}")
    print(f"built by {_dispatch.COMPILER}")
    different = 0
    for variant in track(variants, description="checking", transient=True):
        _dispatch.use(variant)
        wrong = [
            (dtype, *where)
            for dtype in golden.DTYPES
            for where in golden.differences(golden.digests(softmax_cy, dtype), golden.recorded()[dtype])
        ]
        print(f"{variant}: {len(wrong)} digests differ" + "".join(f"\n  {', '.join(where)}" for where in wrong[:20]))
        different += len(wrong)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
