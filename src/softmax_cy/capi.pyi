import enum

_C_API: object
__pyx_capi__: dict[str, object]

class Status(enum.IntEnum):
    OK = 0
    NULL_POINTER = 1
    NEGATIVE_SIZE = 2
    BAD_SCALE = 3
    BAD_STRIDE = 4
    OVERLAP = 5
    BAD_TARGET = 6
    SHAPE_MISMATCH = 7
    BAD_PART = 8
    BAD_STATE = 9
