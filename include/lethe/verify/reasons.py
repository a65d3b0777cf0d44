"""Why due rows are still there, counted by the check for the report: which rows hold the blocked ones back, and what each hold keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from lethe.plan.model import HoldScope, Step
from lethe.verify.frames import Scene, frame, held
from lethe.verify.queries import verdict_frames
from lethe.verify.references import Reference
from lethe.verify.text import REL, TUP, equal


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """How many blocked rows of a step are referred to by rows of `dataset` that stay, by `relation` (its name, or its columns)."""

    dataset: str
    relation: str
    rows: int


def held_back(connection: Connection, scene: Scene, step: Step) -> tuple[HeldBack, ...]:
    """By reference, how many blocked rows of the step it holds back; a row that several hold back counts for each of them."""
    references = [r for r in scene.references if r.parent == step.dataset]
    if not references:
        return ()
    asked = ", ".join(f"({_held_back(r)})" for r in references)
    counted = connection.exec_driver_sql(f"{verdict_frames(scene, step)} SELECT {asked}").one()
    return tuple(
        HeldBack(dataset=_dataset(scene, r), relation=_relation(scene, r), rows=int(n))
        for r, n in zip(references, counted, strict=True)
        if n
    )


def kept_due(connection: Connection, scene: Scene, step: Step, hold: HoldScope) -> int:
    """How many due rows of the step this hold keeps. The session has to know this hold and no other (`check_engine`)."""
    alone = Scene(store=scene.store, steps=scene.steps, references=scene.references, holds=(hold,))
    frames = f"WITH due0 AS ({frame(alone, step)}), kept0 AS ({held(alone, step, 'due0')})"
    return int(connection.exec_driver_sql(f"{frames} SELECT count(*) FROM kept0").scalar_one())


def _held_back(reference: Reference) -> str:
    """Rows of the step that should have gone and that a row which stays refers to: one that nothing takes, or that is blocked itself."""
    on = equal("c", reference.child_columns, "d", reference.parent_columns)
    gone, stays = (f"{alias}.{TUP} = c.ctid AND {alias}.{REL} = c.tableoid" for alias in ("g", "s"))
    return (
        f"SELECT count(*) FROM (SELECT d.{REL}, d.{TUP} FROM left0 AS d JOIN {reference.child} AS c ON {on} "
        f"LEFT JOIN gone AS g ON {gone} LEFT JOIN stays AS s ON {stays} WHERE (g.{REL} IS NULL OR s.{REL} IS NOT NULL) "
        f"AND (c.ctid <> d.{TUP} OR c.tableoid <> d.{REL}) GROUP BY 1, 2) AS b"
    )


def _dataset(scene: Scene, reference: Reference) -> str:
    return scene.dataset_at(reference.child) or reference.child.replace('"', "")


def _relation(scene: Scene, reference: Reference) -> str:
    table = scene.store.tables.get(scene.dataset_at(reference.child) or "")
    relations = table.relations.items() if table else ()
    return next((i for i, r in relations if _same(r.columns, reference.child_columns)), ", ".join(reference.child_columns))


def _same(one: Sequence[str], other: Sequence[str]) -> bool:
    return sorted(one) == sorted(other)
