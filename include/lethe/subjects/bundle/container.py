"""Is a ZIP what a bundle's writer makes of its entries, byte for byte beside their content? Then nothing is hidden in it, nor changed.

A ZIP has more than its entries: dates, flags and gaps that no manifest covers. What a directory says is held against what stands before
and behind each entry; between entries there is nothing.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from lethe.subjects.bundle.bag import MODE

_VERSIONS = (20, 45)
_LENGTHS = 26  # of name and extra, in a local header of 30 bytes
_DIRECTORY, _END, _END64 = 46, 22, 76
_PIECE = 1 << 20


class Container:
    """Walks the entries of a ZIP in the order in which they lie."""

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes]) -> None:
        """Reads nothing yet."""
        self._file, self._infos, self._end = file, archive.infolist(), archive.start_dir
        self._comment = archive.comment
        self._next = 0

    def header(self, info: zipfile.ZipInfo) -> bool:
        """Does the entry begin where the one before ended, with the head that the directory tells? Called for each entry in order."""
        if info.header_offset != self._next or not _plain(info):
            return False
        self._file.seek(info.header_offset)
        head = self._file.read(30)
        if len(head) < 30:
            return False
        head += self._file.read(sum(struct.unpack_from("<2H", head, _LENGTHS)))
        wide = head == _head(info, wide=True)
        if not wide and head != _head(info, wide=False):
            return False
        self._next += len(head) + info.compress_size
        self._file.seek(self._next)
        sizes = (info.CRC, info.compress_size, info.file_size)
        behind = struct.pack("<4sLQQ" if wide else "<4sLLL", b"PK\x07\x08", *sizes)
        if self._file.read(len(behind)) != behind:
            return False
        self._next += len(behind)
        return True

    def pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content of an entry, a MiB at a time. Raises BadZipFile unless its bytes are one deflate stream, whole and nothing more, that has
        the size and the checksum that the directory tells. (`zipfile` stops reading where the size is reached.)"""
        if info.header_offset < 0:
            raise zipfile.BadZipFile
        self._file.seek(info.header_offset)
        head = self._file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04" or info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & 1:
            raise zipfile.BadZipFile
        self._file.seek(info.header_offset + 30 + sum(struct.unpack_from("<2H", head, _LENGTHS)))
        stream, left, size, checksum = zlib.decompressobj(-15), info.compress_size, 0, 0
        while not stream.eof:
            packed = stream.unconsumed_tail or self._file.read(min(left, _PIECE))
            left -= 0 if stream.unconsumed_tail else len(packed)
            piece = stream.decompress(packed, _PIECE)
            if not piece and not packed:
                raise zipfile.BadZipFile
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
            yield piece
        if left or stream.unused_data or (size, checksum) != (info.file_size, info.CRC):
            raise zipfile.BadZipFile

    def directory(self) -> bool:
        """Does the directory follow the last entry, and end the file?"""
        if self._end != self._next or self._comment:
            return False
        self._file.seek(self._next)
        for info in self._infos:
            lengths = (len(info.orig_filename.encode()), len(info.extra), 0)
            line = self._file.read(_DIRECTORY + sum(lengths))
            if len(line) < _DIRECTORY + sum(lengths) or struct.unpack_from("<3H", line, 28) != lengths:
                return False  # a reader may take what is too long for all that is left
        size = self._file.tell() - self._next
        end, count = self._file.read(_END64 + _END + 1), len(self._infos)
        if max(self._next, size) > zipfile.ZIP64_LIMIT or count > zipfile.ZIP_FILECOUNT_LIMIT:
            return len(end) == _END64 + _END
        return end == struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, self._next, 0)


def _plain(info: zipfile.ZipInfo) -> bool:
    """Has the directory's line nothing but what a writer puts there?"""
    return (
        info.create_version in _VERSIONS
        and info.extract_version == info.create_version
        and (info.create_system, info.reserved, info.volume, info.internal_attr) == (3, 0, 0, 0)
        and info.external_attr == MODE
        and info.compress_type == zipfile.ZIP_DEFLATED
        and info.comment == b""
        and (info.extra == b"" or (info.extract_version == 45 and info.extra[:2] == b"\x01\x00"))
    )


def _head(info: zipfile.ZipInfo, *, wide: bool) -> bytes:
    """What stands before an entry whose sizes were not known when it began."""
    try:
        made = zipfile.ZipInfo(info.filename, info.date_time)
        made.compress_type, made.flag_bits = info.compress_type, 0x08
        head = made.FileHeader(zip64=wide)
    except (ValueError, struct.error):
        return b""
    (flags,) = struct.unpack_from("<H", head, 6)
    return head if flags == info.flag_bits else b""
