"""The text of network addresses that came as PostgreSQL sends them (`inet_send`): the same as its cast of inet and cidr to text.

Told here because the cast takes a fifth of the server's time for a row of logs; held against PostgreSQL by `tests/integration/test_derived.py`.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.arrays import flags, of_numbers, of_texts

_HEAD = 4
"""Bytes before an address: its family, the bits of its network, whether it is a cidr, its length."""
_V4 = _HEAD + 4


def texts(sent: pa.ChunkedArray) -> pa.ChunkedArray:
    """The text of each address (binary), with its network's bits as a cast writes them; NULL stays."""
    return pa.chunked_array([_texts(chunk) for chunk in sent.chunks], pa.string())


def _texts(chunk: pa.Array) -> pa.Array:
    if not chunk.null_count and pc.min_max(pc.binary_length(chunk)).as_py() == {"min": _V4, "max": _V4}:
        return _version_4(chunk)
    nulls = flags(pc.is_null(chunk))
    there = chunk.drop_null()
    if pc.min_max(pc.binary_length(there)).as_py() == {"min": _V4, "max": _V4}:
        return _version_4(there).take(of_numbers(np.cumsum(~nulls) - 1, nulls))
    coded = chunk.dictionary_encode()
    return of_texts([_text(value) for value in coded.dictionary.to_pylist()]).take(coded.indices)


def _version_4(sent: pa.Array) -> pa.Array:
    """Addresses of version 4 without NULL: the characters of all, five parts of four bytes each, without the zeros that fill up."""
    start = int(np.frombuffer(sent.buffers()[1], np.int32)[sent.offset]) if len(sent) else 0
    raw = np.frombuffer(sent.buffers()[2] or b"", np.uint8)
    rows = raw[start : start + len(sent) * _V4].reshape(len(sent), _V4)
    parts = [*(("{}.", rows[:, n]) for n in range(_HEAD, _V4 - 1)), ("{}/", rows[:, _V4 - 1]), ("{}", rows[:, 1])]
    wide = np.empty((len(sent), len(parts)), np.uint32)
    ends = np.zeros(len(sent) + 1, np.int32)
    for n, (form, numbers) in enumerate(parts):
        characters, lengths = _table(form)
        wide[:, n] = characters[numbers]
        ends[1:] += lengths[numbers]
    text = wide.tobytes().translate(None, b"\0")
    return pa.StringArray.from_buffers(len(sent), pa.py_buffer(np.cumsum(ends, dtype=np.int32)), pa.py_buffer(text))


@cache
def _table(form: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    """For each byte its number in that form, four characters in one, filled up with zeros; and how many they are."""
    written = [form.format(n).encode() for n in range(256)]
    return np.frombuffer(b"".join(w.ljust(4, b"\0") for w in written), np.uint32), np.array([len(w) for w in written], np.int32)


def _text(sent: Any) -> str | None:
    """Of one address of any version."""
    if sent is None:
        return None
    address, bits = sent[_HEAD:], sent[1]
    if len(address) == 4:
        return f"{IPv4Address(address)}/{bits}"
    number = int.from_bytes(address, "big")
    high = number >> 32
    # PostgreSQL writes an address of version 4 within one of version 6 with dots, as Python does from 3.13 on.
    if high == 0xFFFF or (high == 0 and number >> 16):
        return f"::{'ffff:' if high else ''}{IPv4Address(number & 0xFFFFFFFF)}/{bits}"
    return f"{IPv6Address(address)}/{bits}"
