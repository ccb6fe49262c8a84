"""A PNG of 400 megapixels in a megabyte, and a process that decodes it.

    python -m tests.gpuworker.huge_png FILE MEMORY_BYTES

prints what became of it, what was expected to be needed, and by how much the process has grown at most.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from pathlib import Path

from tests.gpuworker import pictures
from tests.gpuworker.large_tiff import peak_bytes

SIDE = 20_000
_ROWS_AT_ONCE = 200


def write_png(path: Path, side: int = SIDE) -> None:
    """Black RGB; rows that are all alike are compressed once."""
    rows = bytes((1 + 3 * side) * _ROWS_AT_ONCE)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(side // _ROWS_AT_ONCE):
        checksum = zlib.adler32(rows, checksum)
    stream = b"\x78\x9c" + packed * (side // _ROWS_AT_ONCE) + packer.flush() + struct.pack(">I", checksum)
    path.write_bytes(png_of(side, side, stream))


def png_of(width: int, height: int, stream: bytes = b"x", colour_type: int = 2, *more: bytes) -> bytes:
    """8 bits a sample; `stream`: its compressed rows, which nobody reads who reads the header only."""
    header = pictures.png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    chunks = (header, *more, pictures.png_chunk(b"IDAT", stream), pictures.png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def main() -> None:
    from gpuworker.contract.items import ItemError
    from gpuworker.images.decoding import Limits, decode, decoding_bytes

    data, memory_bytes = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    limits = Limits(memory_bytes=memory_bytes)
    expected = decoding_bytes(data, limits)
    before = peak_bytes()
    try:
        became = f"{decode(data, limits).rgb.shape}"
    except ItemError as error:
        became = f"{error.code}: {error.message}"
    print(json.dumps({"became": became, "expected_bytes": expected, "grown_bytes": peak_bytes() - before}))


if __name__ == "__main__":
    main()
