"""Write or check the digests of the bits that every variant with FMA must give: `python tools/golden.py [--check]`.

Those of the tests, and those of `python -m softmax_cy --selftest`. Written with one variant, checked with all that run
here. The library is the one that Python finds, so that `make golden-clang` checks another compiler's build against the
same files.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import golden
import softmax_cy
from softmax_cy import _dispatch, _selftest

SELFTEST = Path(__file__).parents[1] / "src/softmax_cy/_selftest.py"


def with_digests(module: str, digests: dict[str, str]) -> str:
    """The text of the module of the check, with these digests."""
    names = dict.fromkeys(name.rpartition(", ")[0] for name in digests)
    rows = {name: " ".join(digests[f"{name}, {dtype}"] for dtype in _selftest.DTYPES) for name in names}
    table = "".join(f'    "{name}": "{row}",\n' for name, row in rows.items())
    return re.sub(r"(?<=^DIGESTS = {\n).*?(?=^}\n)", table, module, count=1, flags=re.DOTALL | re.MULTILINE)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    options = parser.parse_args()
    variants = [name for name in _dispatch.runnable_variants() if _dispatch.VARIANTS[name].has_fma]
    if not variants:
        sys.exit("no variant with FMA can run here")
    if not options.check:
        _dispatch.use(variants[0])
        found = {dtype: golden.digests(softmax_cy, dtype) for dtype in golden.DTYPES}
        golden.write(found)
        SELFTEST.write_text(with_digests(SELFTEST.read_text(), _selftest.digests()))
        print(f"{golden.DIGESTS}, {golden.SUMMARIES}, {SELFTEST}: written with {variants[0]}")
    print(f"built by {_dispatch.COMPILER}")
    different = 0
    for variant in track(variants, description="checking", transient=True):
        _dispatch.use(variant)
        wrong = [
            (dtype, *where)
            for dtype in golden.DTYPES
            for where in golden.differences(golden.digests(softmax_cy, dtype), golden.recorded()[dtype])
        ]
        wrong += ((SELFTEST.name, name) for name in _selftest.unlike_recorded())
        print(f"{variant}: {len(wrong)} digests differ" + "".join(f"\n  {', '.join(where)}" for where in wrong[:20]))
        different += len(wrong)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
