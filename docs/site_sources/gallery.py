"""The order of the gallery: what is needed first comes first."""

ORDER = (
    "walk.py",
    "newton_on_digits.py",
    "attention.py",
    "stream_a_file.py",
    "dask_chunks.py",
    "torch_losses.py",
    "c_worker_pool.py",
    "numba_training.py",
)


class Order:
    """The key by which sphinx-gallery sorts the scripts of a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> int:
        """Return the place of a script."""
        return ORDER.index(filename)
