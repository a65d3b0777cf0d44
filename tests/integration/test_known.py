"""The keys of a run's count are read when a batch first asks for them, and only then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import event

from helpers.control import AS_OF, ControlDatabase, a_plan, a_step, counts
from lethe.catalog.model import ObjectClock
from lethe.control.plans import Counted, save_counts, save_plan
from lethe.plan.model import ExpiryPredicate, ObjectPredicate
from lethe.purge.known import KeysOfTheCount
from lethe.stores.postgres.keys import freeze

ROWS, ARCHIVE, FILES, LATE = "logs/technical_logs", "expiry/invoices", "exports/files", "late/sessions"
_EXPIRY = ExpiryPredicate(dataset="invoices", law="Code de commerce L123-22", as_of=AS_OF, zone="Europe/Paris")
_FILES = ObjectPredicate(
    bucket="b",
    prefix="p/",
    clock=ObjectClock(key_date="p/%Y/%m/%d/"),
    cutoff=AS_OF,
    start_of_service=datetime(2019, 1, 1, tzinfo=UTC),
    as_of=AS_OF,
    zone="UTC",
)


def counted(control: ControlDatabase) -> KeysOfTheCount:
    plan = a_plan(a_step(ROWS), a_step(ARCHIVE, predicate=_EXPIRY), a_step(FILES, predicate=_FILES), a_step(LATE))
    keys = {ROWS: freeze(np.array([7, -3, 7 << 40])), ARCHIVE: np.array([4, 5], dtype=np.int64).tobytes(), FILES: b"never read"}
    with control.runtime.begin() as connection:
        save_plan(connection, plan)
        save_counts(connection, plan.digest, 1, {s: Counted(counts=counts(9, 3), keys=k) for s, k in keys.items()})
    return KeysOfTheCount(control.runtime, plan, 1)


def test_each_step_has_the_keys_of_its_own_count(control: ControlDatabase) -> None:
    known = counted(control)
    rows, archive, late = known(ROWS), known(ARCHIVE), known(LATE)
    assert known.is_read(LATE) and not known.is_read(FILES)
    assert rows is not None and archive is not None and late is not None
    assert [k in rows for k in (7, -3, 7 << 40, 8)] == [True, True, True, False]
    assert [k in archive for k in (4, 5, 6)] == [True, True, False]
    assert 7 not in late, "what was not counted has all arrived since"
    assert known(FILES) is None, "objects of a prefix have no such keys"


def test_they_are_read_once_however_many_lanes_ask_and_not_before(control: ControlDatabase) -> None:
    known, asked = counted(control), list[str]()

    def note(*given: Any) -> None:
        asked.append(given[2])

    def look(*given: Any) -> None:
        seen.append(other.submit(known.is_read, ROWS).result(timeout=10))

    seen, other = list[bool](), ThreadPoolExecutor(1)
    event.listen(control.runtime, "before_cursor_execute", note)
    event.listen(control.runtime, "after_cursor_execute", look)
    try:
        assert not asked
        with ThreadPoolExecutor(4) as lanes:
            found = list(lanes.map(known, [ROWS] * 8))
        assert len(asked) == 1 and len({id(f) for f in found}) == 1
    finally:
        event.remove(control.runtime, "before_cursor_execute", note)
        event.remove(control.runtime, "after_cursor_execute", look)
        other.shutdown()
    assert seen == [False], "who asks while they are read is answered, not kept waiting"
