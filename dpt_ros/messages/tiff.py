"""The orientation of a TIFF, which OpenCV obeys even where it is told to ignore it.

The layouts are those of TIFF 6.0, section 2 (42 in the header), and of BigTIFF (43).
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_LAYOUTS = {42: ("4xI", "H", "HHIH2x"), 43: ("8xQ", "Q", "HHQH6x")}
"""Of the header: where the first directory is; of that: how many entries it has, then each of them:
tag, type, count and value."""
_ORIENTATION, _SHORT = 274, 3
_AS_STORED = 1


def without_orientation(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes [N] of a TIFF whose first picture is decoded as it is stored, not turned.

    Bytes of another format, without an orientation, or cut off before it come back as they are.
    """
    order = _BYTE_ORDERS.get(data[:2].tobytes(), "")
    if not order:
        return data
    stream = bytearray(data)
    try:
        (version,) = struct.unpack_from(order + "H", stream, 2)
        if version not in _LAYOUTS:
            return data
        header, number, entry = (order + layout for layout in _LAYOUTS[version])
        (directory,) = struct.unpack_from(header, stream)
        directory = min(directory, len(stream))
        (count,) = struct.unpack_from(number, stream, directory)
        for index in range(count):
            position = directory + struct.calcsize(number) + index * struct.calcsize(entry)
            if struct.unpack_from(entry, stream, position)[0] == _ORIENTATION:
                struct.pack_into(entry, stream, position, _ORIENTATION, _SHORT, 1, _AS_STORED)
                return np.frombuffer(stream, np.uint8)
    except struct.error:  # it was cut off, which whoever decodes it tells
        return data
    return data
