"""Have threadpoolctl find and limit the threads of softmax_cy, whether it is imported before or after."""

import sys
from importlib.machinery import PathFinder

from softmax_cy import _threads

NAME = "threadpoolctl"


def register(threadpoolctl) -> None:
    """Tell threadpoolctl 3.2 or newer of a library that is limited as those with OpenMP are."""
    if not hasattr(threadpoolctl, "register"):
        return

    class Controller(threadpoolctl.LibController):
        """Found by the name of a module with threads, and known by a symbol that it exports."""

        user_api = "openmp"
        internal_api = "softmax_cy"
        filename_prefixes = ("_threads.",)
        check_symbols = ("softmax_cy_pool",)

        def get_num_threads(self):
            return _threads.get_num_threads()

        def set_num_threads(self, num_threads):
            _threads.limit_num_threads(num_threads)

        def get_version(self):
            from softmax_cy._version import __version__

            return __version__

    threadpoolctl.register(Controller)


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
