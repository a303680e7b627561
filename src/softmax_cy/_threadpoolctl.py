"""Have threadpoolctl find and limit the threads of softmax_cy, whether it is imported before or after."""

import sys
from importlib.machinery import PathFinder

from softmax_cy import _threads

NAME = "threadpoolctl"


class Limits:
    """What makes a controller of threadpoolctl's base class: found by a file's name, known by a symbol in it."""

    user_api = "openmp"
    internal_api = "softmax_cy"
    filename_prefixes = ("_threads.",)
    check_symbols = ("softmax_cy_pool",)

    def get_num_threads(self):
        """As many as a call uses that does not say."""
        return _threads.get_num_threads()

    def set_num_threads(self, num_threads):
        """Let no call use more."""
        _threads.limit_num_threads(num_threads)

    def get_version(self):
        """Of the package."""
        from softmax_cy._version import __version__

        return __version__


def register(threadpoolctl) -> None:
    """Tell threadpoolctl 3.2 or newer of a library that is limited as those with OpenMP are."""
    if hasattr(threadpoolctl, "register"):
        threadpoolctl.register(type("Controller", (Limits, threadpoolctl.LibController), {}))


class RegisterWhenImported:
    """A finder of modules that finds threadpoolctl, and registers with it once it has been loaded."""

    def find_spec(self, name, path=None, target=None):
        """As of importlib.abc.MetaPathFinder."""
        if name != NAME:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                register(module)
                sys.meta_path.remove(self)

            spec.loader.exec_module = exec_module
        return spec


if NAME in sys.modules:
    register(sys.modules[NAME])
else:
    sys.meta_path.insert(0, RegisterWhenImported())
