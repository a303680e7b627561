from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)

def softmax(logits: NDArray[_Float], out: NDArray[_Float]) -> None: ...
def softmax_jacobian(y: NDArray[_Float], out: NDArray[_Float]) -> None: ...
