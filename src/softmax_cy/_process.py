"""What the process was before softmax_cy came into it. Imported before anything that loads OpenMP."""

# Of the kernel's flags of a process: it was forked, and has not run another program since.
PF_FORKNOEXEC = 0x40


def forked_with_openmp() -> bool:
    """Whether this is a forked child that has libgomp already: its parent may have started threads of it.

    Linux alone tells.
    """
    # No pathlib: to import it would take longer than all the rest of this package.
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            # The second field is the name of the program, in parentheses, which may have others in it.
            flags = int(file.read().rpartition(b")")[2].split()[6])
        if not flags & PF_FORKNOEXEC:
            return False
        with open("/proc/self/maps", "rb") as file:  # noqa: PTH123
            return b"/libgomp.so" in file.read()
    except (OSError, ValueError, IndexError):
        return False


FORKED_WITH_OPENMP = forked_with_openmp()
