"""Writes a picture of a brown spot as PNG, with nothing but Python: `python3 photograph.py FILE`."""

import struct
import sys
import zlib
from pathlib import Path

WIDTH, HEIGHT = 450, 300


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def pixel(x: int, y: int) -> bytes:
    """Brown within an ellipse, skin around it."""
    inside = (x - WIDTH / 2) ** 2 / 110**2 + (y - HEIGHT / 2) ** 2 / 80**2 < 1
    return bytes((115, 72, 51) if inside else (222, 180, 165))


rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(WIDTH)) for y in range(HEIGHT))
header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
Path(sys.argv[1]).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
