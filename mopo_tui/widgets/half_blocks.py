"""Pictures as cells of a terminal: two pixels a cell, one above the other (no Textual).

Colours are rounded to 32 levels a channel, which hardly shows and makes longer stretches equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Codes = NDArray[np.int64]


def fine(pixels: Pixels) -> Codes:
    """(lines, columns, 3) -> (lines, columns): 5 bits of each channel in one number."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64) >> 3, -1, 0)
    found: Codes = red << 10 | green << 5 | blue
    return found


def greys(pixels: Pixels, levels: int) -> Codes:
    """(lines, columns, 3) -> (lines, columns): how light each pixel is, 0 to levels − 1."""
    found: Codes = (pixels @ np.array([299, 587, 114]) * levels // 255_001).astype(np.int64)
    return found


def paired(codes: Codes) -> Codes:
    """(2·lines, columns) -> (lines, columns): the upper pixel's number in the high bits, the lower one's in the low 16."""
    found: Codes = codes[0::2] << 16 | codes[1::2]
    return found


def rgb(code: int) -> tuple[int, int, int]:
    """The colour of a number of `fine`, 0 to 255 a channel."""
    red, green, blue = ((code >> shift & 31) * 255 // 31 for shift in (10, 5, 0))
    return red, green, blue
