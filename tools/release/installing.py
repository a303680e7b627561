"""Install a wheel as a stranger would, and run the core of the tests there."""

from __future__ import annotations

import shutil
import tempfile
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from release.commands import FailedError, environment, make_environment, run
from release.pythons import Interpreter

COMPILERS = ("cc", "gcc", "c99", "clang")


@dataclass(frozen=True)
class Tested:
    """A run of the core of the tests."""

    numpy: str
    passed: int
    skipped: dict[str, int]  # by their reasons
    seconds: float


def oldest_version(dependencies: list[str], name: str) -> str:
    """Return the oldest version of a package that the metadata promises to work with."""
    (found,) = (one for one in map(Requirement, dependencies) if one.name == name)
    (lowest,) = (part.version for part in found.specifier if part.operator == ">=")
    return lowest if lowest.count(".") == 2 else f"{lowest}.0"


def read_report(report: Path, numpy: str) -> Tested:
    """Count what pytest has written down."""
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    reasons = [skip.get("message", "") for skip in suite.iter("skipped")]
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    passed = int(suite.get("tests")) - bad - len(reasons)
    if bad or not passed:
        raise FailedError(f"{passed} tests passed, {bad} failed")
    return Tested(numpy, passed, {one: reasons.count(one) for one in sorted(set(reasons))}, float(suite.get("time")))


def install_and_test(wheel: Path, interpreter: Interpreter, numpy: str, log: Path) -> Tested | None:
    """Test a wheel where there is no compiler, with NumPy and pytest alone. None: this NumPy has no wheel."""
    # Not below this tree, of which pytest would find the configuration.
    with tempfile.TemporaryDirectory(prefix="softmax_cy-") as folder:
        python = make_environment(interpreter.path, Path(folder, "venv"), log)
        env = environment(PATH=str(python.parent), CC="/nonexistent", CXX="/nonexistent")
        if found := [path for name in COMPILERS if (path := shutil.which(name, path=env["PATH"]))]:
            raise FailedError(f"there is a compiler: {found[0]}")
        install = (python, "-m", "pip", "install", "--only-binary", ":all:")
        try:
            run(*install, numpy, log=log, env=env)
        except FailedError as error:
            if "No matching distribution found" in str(error):
                return None
            raise
        run(*install, "pytest", wheel, log=log, env=env)
        version = run(python, "-c", "import numpy; print(numpy.__version__)", log=log, env=env).strip()
        report = Path(folder, "report.xml")
        options = ("-q", "-ra", "-W", "error", "-p", "no:cacheprovider", f"--junitxml={report}")
        run(python, "-m", "pytest", *options, "--pyargs", "softmax_cy", log=log, cwd=Path(folder), env=env)
        return read_report(report, version)
