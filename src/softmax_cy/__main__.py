"""``python -m softmax_cy``: show how the package was built and what it uses here, or what a C compiler needs of it."""

import argparse

from softmax_cy import _embedding, show_config


def main() -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m softmax_cy", description="Show how this build was made, or what it offers to C."
    )
    parser.add_argument("--cflags", action="store_true", help="print the compiler's flags for the C header")
    parser.add_argument("--ldflags", action="store_true", help="print the linker's, for a program that embeds Python")
    parser.add_argument("--examples", action="store_true", help="print the directory of the examples for embedders")
    options = parser.parse_args()
    if not any(vars(options).values()):
        show_config()
    if options.cflags:
        print(_embedding.compiler_flags())
    if options.ldflags:
        print(_embedding.linker_flags())
    if options.examples:
        print(_embedding.folder("examples"))


if __name__ == "__main__":
    main()
