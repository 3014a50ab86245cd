"""Pictures made by code: a PNG with a palette, height lines over a gradient; same arguments, same bytes."""

from __future__ import annotations

import math
import struct
import zlib
from random import Random

Colour = tuple[int, int, int]

_BANDS = 32


def picture(size: tuple[int, int], dark: Colour, light: Colour, seed: str) -> bytes:
    """A PNG of `size` (width, height) in pixels: bands from `dark` to `light`, as a relief map has them."""
    width, height = size
    chance = Random(seed)  # noqa: S311  (a picture, not a secret)
    across = _waves(width, chance)
    down = _waves(height, chance)
    slant = _waves(width + height, chance)
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # filter type "none" of this row
        rows += bytes(((a + down[y] + b) // 96) % _BANDS for a, b in zip(across, slant[y : y + width], strict=True))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", b"".join(bytes(_band(number, dark, light)) for number in range(_BANDS))),
            _chunk(b"IDAT", zlib.compress(bytes(rows), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _waves(length: int, chance: Random) -> list[int]:
    waves = [(chance.uniform(0.6, 2.2), chance.uniform(0, math.tau), chance.uniform(20, 60)) for _ in range(3)]
    return [
        round(
            16 * sum(weight * (1 + math.sin(phase + math.tau * turns * i / length)) for turns, phase, weight in waves)
        )
        for i in range(length)
    ]


def _band(number: int, dark: Colour, light: Colour) -> Colour:
    # Up and down again, so that the last band meets the first one; every fourth is a contour line.
    share = 1 - abs(2 * number / _BANDS - 1)
    shade = 0.82 if number % 4 == 0 else 1.0
    red, green, blue = (round((d + (t - d) * share) * shade) for d, t in zip(dark, light, strict=True))
    return red, green, blue


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
