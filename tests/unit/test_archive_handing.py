"""Rows that leave the archive as text: what CSV and JSON cannot hold as it is."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, date, datetime
from uuid import UUID

import pyarrow as pa

from lethe.archive.handing import plain_rows

NUMBER = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def test_an_archived_value_of_each_kind_is_text_that_json_can_hold() -> None:
    table = pa.table(
        {
            "id": pa.array([UUID(NUMBER).bytes, None], pa.uuid()),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "day": pa.array([date(2026, 1, 1), None]),
            "raw": pa.array([b"\x00\xff", None]),
            "note": pa.array(["é", None]),
            "n": pa.array([7, None]),
        }
    )
    rows = list(plain_rows(table))
    assert rows[0] == {
        "id": NUMBER,
        "at": "2026-01-01T00:00:00+00:00",
        "day": "2026-01-01",
        "raw": base64.b64encode(b"\x00\xff").decode(),
        "note": "é",
        "n": 7,
    }
    assert rows[1] == dict.fromkeys(table.column_names)
    json.dump(rows, io.StringIO())
