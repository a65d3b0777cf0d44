"""The questions the check asks of a database about a step: each a text, each answered by one aggregate row.

`broken_*` queries answer with one row only when a rule is violated, which is what an expectation of "no row" wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from lethe.plan.model import Step
from lethe.verify.frames import Scene, frame, held, predicate_of, same
from lethe.verify.references import Reference
from lethe.verify.text import REL, TUP, Chain, as_instant, conditions, equal, instant, name, relation_name, table_of

_BOUND = "<bound>"
BEFORE = ("deleted", "changed", "failed")
"""Terms of the right side of the equation that are not counted in the source itself."""


def _closure(scene: Scene, step: Step) -> list[Step]:
    """The step and every acting step whose rows refer, directly or not, to its dataset: they decide what is blocked."""
    datasets, todo = {step.dataset}, [step.dataset]
    while todo:
        parent = todo.pop()
        for child in (scene.dataset_at(r.child) for r in scene.references if r.parent == parent):
            if child is not None and child not in datasets and scene.acting_on(child):
                datasets.add(child)
                todo.append(child)
    return [step, *(s for s in scene.steps if s.dataset in datasets and s.id != step.id)]


def verdict_frames(scene: Scene, step: Step) -> str:
    """WITH ... naming `due` and `kept` (due and held) of the step, `gone` (every row of the closure that should have gone) and
    `stays` (the rows of `gone` that a row which stays still refers to, directly or through others: a least fixpoint)."""
    parts, gone, base, edges = [], [], [], []
    steps = _closure(scene, step)
    for number, each in enumerate(steps):
        parts += [
            f"due{number} AS ({frame(scene, each)})",
            f"kept{number} AS ({held(scene, each, f'due{number}')})",
            f"left{number} AS (SELECT d.* FROM due{number} AS d LEFT JOIN kept{number} AS k ON {same('d', 'k')} WHERE k.{REL} IS NULL)",
        ]
        gone.append(f"SELECT {REL}, {TUP} FROM left{number}")
        for reference in scene.references:
            if reference.parent != each.dataset:
                continue
            referred = f"FROM left{number} AS d JOIN {reference.child} AS c ON {equal('c', reference.child_columns, 'd', reference.parent_columns)}"
            there = f"g.{TUP} = c.ctid AND g.{REL} = c.tableoid"
            base.append(f"SELECT d.{REL}, d.{TUP} {referred} LEFT JOIN gone AS g ON {there} WHERE g.{REL} IS NULL")
            if any(s.dataset == scene.dataset_at(reference.child) for s in steps):
                edges.append(f'SELECT d.{REL}, d.{TUP}, c.tableoid AS "~by", c.ctid AS "~at" {referred} JOIN gone AS g ON {there}')
    nothing = f"SELECT {REL}, {TUP} FROM gone WHERE false"
    parts.append("gone AS (" + " UNION ".join(gone) + ")")
    parts.append("first AS (" + (" UNION ".join(base) or nothing) + ")")
    if edges:
        parts.append("edges AS (" + " UNION ".join(edges) + ")")
        step_on = f'SELECT e.{REL}, e.{TUP} FROM stays AS s JOIN edges AS e ON e."~by" = s.{REL} AND e."~at" = s.{TUP}'
        parts.append(f"stays AS (SELECT {REL}, {TUP} FROM first UNION {step_on})")
    else:
        parts.append("stays AS (SELECT * FROM first)")
    return "WITH RECURSIVE " + ", ".join(parts)


_SPLIT = f"""SELECT count(*) AS due, count(k.{REL}) AS held,
  count(*) FILTER (WHERE k.{REL} IS NULL AND s.{REL} IS NOT NULL) AS blocked,
  count(*) FILTER (WHERE k.{REL} IS NULL AND s.{REL} IS NULL) AS survivors
  FROM due0 AS d LEFT JOIN kept0 AS k ON {same("d", "k")} LEFT JOIN stays AS s ON {same("d", "s")}"""


def left_over(scene: Scene, step: Step) -> str:
    """due, held, blocked, survivors: how many rows of the step are still there, and why."""
    return f"{verdict_frames(scene, step)} {_SPLIT}"


def broken_survivors(scene: Scene, step: Step) -> str:
    """One row when a due row is left that is neither held nor blocked."""
    return f"{verdict_frames(scene, step)} SELECT n.survivors FROM ({_SPLIT}) AS n WHERE n.survivors > 0"


def broken_equation(scene: Scene, step: Step, counted: Mapping[str, int]) -> str:
    """One row when planned + arrived = deleted + held + changed + blocked + failed does not hold, or anything failed.

    `counted`: planned, arrived, deleted, changed, failed, counted elsewhere; held and blocked are counted here, now.
    """
    right = " + ".join(str(int(counted[t])) for t in BEFORE)
    return (
        f"{verdict_frames(scene, step)} SELECT n.held, n.blocked FROM ({_SPLIT}) AS n "
        f"WHERE {int(counted['planned'])} + {int(counted['arrived'])} <> {right} + n.held + n.blocked OR {int(counted['failed'])} <> 0"
    )


def left_keys(scene: Scene, step: Step, key64: str) -> str:
    """key, held: the key64 of each row still due, and whether a hold keeps it; `key64` is an expression over the row `d`."""
    frames = f"WITH due0 AS ({frame(scene, step)}), kept0 AS ({held(scene, step, 'due0')})"
    return f"{frames} SELECT {key64}, k.{REL} IS NOT NULL FROM due0 AS d LEFT JOIN kept0 AS k ON {same('d', 'k')}"


def still_there(scene: Scene, step: Step, key64: str) -> str:
    """changed, gone: of the frozen keys bound as one bigint array, how many exist and are not due, and how many do not exist.

    `key64` is an expression over the row `r`: it needs an index, which it has when it is the key itself.
    """
    table = relation_name(table_of(scene.store, step.dataset or ""))
    text = (
        f"WITH due0 AS ({frame(scene, step)}), asked AS (SELECT unnest(CAST({_BOUND} AS bigint[])) AS key) "
        f"SELECT count(r.ctid) FILTER (WHERE d.{REL} IS NULL), count(*) FILTER (WHERE r.ctid IS NULL) "
        f"FROM asked LEFT JOIN {table} AS r ON {key64} = asked.key LEFT JOIN due0 AS d ON d.{REL} = r.tableoid AND d.{TUP} = r.ctid"
    )
    return text.replace("%", "%%").replace(_BOUND, "%s")


def broken_orphans(reference: Reference, parent: str) -> str:
    """One row when a row refers to one of `parent` (quoted schema.table) that is not there. Reads the referring table: only asked where no validated
    foreign key guards."""
    lost = " AND ".join(f"c.{name(column)} IS NOT NULL" for column in reference.child_columns)
    return (
        f"SELECT count(*) AS orphans FROM {reference.child} AS c LEFT JOIN {parent} AS p "
        f"ON {equal('c', reference.child_columns, 'p', reference.parent_columns)} "
        f"WHERE p.{name(reference.parent_columns[0])} IS NULL AND {lost} HAVING count(*) > 0"
    )


def unguarded(scene: Scene, step: Step) -> list[Reference]:
    """The relations to the step's dataset that must not dangle and that no validated foreign key guards."""
    return [r for r in scene.references if r.parent == step.dataset and r.required and not r.guarded]


def _value(scene: Scene, step: Step) -> tuple[str, str]:
    """A FROM that gives each row's clock as `v.value` (in the column's own type), and its alias: what quarantine and age are judged by.

    A clock on other rows needs the whole of both tables: the age of a thread is known only when its last message is.
    """
    predicate, dataset = predicate_of(step), step.dataset or ""
    table, clock = table_of(scene.store, dataset), predicate.clock
    subset = conditions("r", predicate.subset)
    where = f" WHERE {' AND '.join(subset)}" if subset else ""
    if not clock.through:
        own = [f"r.{name(c)}" for c in (clock.latest_of or (clock.column or "",))]
        value = f"greatest({', '.join(own)})" if clock.latest_of else own[0]
        return f"(SELECT {value} AS value FROM {relation_name(table)} AS r{where}) AS v", "v.value"
    chain = Chain(scene.store, dataset, clock.through, root="r", prefix="z")
    column, reached = f"{chain.last}.{name(clock.column or '')}", f"{chain.last}.{name(chain.table.key[0])}"
    other = f"max(r.{name(clock.otherwise)})" if clock.otherwise else "NULL"
    value = f"CASE WHEN count({reached}) = 0 THEN {other} WHEN count({column}) = count({reached}) THEN max({column}) END"
    keys = ", ".join(f"r.{name(k)}" for k in table.key)
    return f"(SELECT {value} AS value FROM {relation_name(table)} AS r{chain.outer()}{where} GROUP BY {keys}) AS v", "v.value"


def age(scene: Scene, step: Step) -> str:
    """quarantined, oldest: rows whose clock cannot be believed (NULL or future where that is unknown, before the service), and the oldest
    believable clock as timestamptz. By ranges of the clock's index when the clock is one column of the row."""
    predicate = predicate_of(step)
    clock = predicate.clock
    low, top = (instant(i, clock, ZoneInfo(predicate.zone)) for i in (predicate.start_of_service, predicate.as_of))
    source, value = _value(scene, step)
    tests = [f"{value} < {low}"] + ([f"{value} > {top}"] if clock.future_means == "unknown" else [])
    tests += [f"{value} IS NULL"] if clock.null_means == "unknown" else []
    oldest = as_instant(f"min({value})", clock, ZoneInfo(predicate.zone))
    if clock.through or clock.latest_of:
        wrong = " OR ".join(tests)
        believed = f"min({value}) FILTER (WHERE {value} >= {low} AND {value} <= {top})"
        return f"SELECT count(*) FILTER (WHERE {wrong}), {as_instant(believed, clock, ZoneInfo(predicate.zone))} FROM {source}"
    counts = " + ".join(f"(SELECT count(*) FROM {source} WHERE {test})" for test in tests)
    return f"SELECT {counts}, (SELECT {oldest} FROM {source} WHERE {value} >= {low} AND {value} <= {top})"


def key_expression(scene: Scene, step: Step, alias: str, *, integer: bool) -> str:
    """key64 of the row `alias`: its key when that is one integer, else a hash of its key's text (CONTRACT of frozen keys: stores.postgres.keys)."""
    key = table_of(scene.store, step.dataset or "").key
    columns = [f"{alias}.{name(k)}" for k in key]
    if integer:
        return f"CAST({columns[0]} AS bigint)"
    text = f"CAST({columns[0]} AS text)" if len(columns) == 1 else f"CAST(ROW({', '.join(columns)}) AS text)"
    return f"hashtextextended({text}, 0)"
