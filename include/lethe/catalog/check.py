"""The catalog against itself and against the policy: names that lead nowhere, data that no rule covers. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import date

from lethe.catalog.model import Catalog, Path, Prefix, Store, Table
from lethe.catalog.paths import follow
from lethe.errors import UnknownName
from lethe.findings import CheckFinding, Kind
from lethe.policy.model import Need, PolicyVersion, Rule


def check_catalog(catalog: Catalog, policy: PolicyVersion, *, on: date) -> list[CheckFinding]:
    """Everything wrong that can be seen without a database. `on` is the day that exemptions are compared with."""
    found: list[CheckFinding] = []
    for store in catalog.stores:
        found += _store(store, on)
        for name, table in store.tables.items():
            found += _table(store, name, table)
            found += _files(catalog, store, name, table)
        for name, prefix in store.prefixes.items():
            found += _prefix(name, prefix)
    found += _purposes(catalog)
    found += _rules(catalog, policy)
    return found


def _finding(kind: Kind, where: str, problem: str, fix: str, *, stops: bool = True) -> CheckFinding:
    return CheckFinding(kind=kind, where=where, problem=problem, fix=fix, stops=stops)


def _store(store: Store, on: date) -> Iterator[CheckFinding]:
    for exemption in store.exempt:
        if exemption.until < on:
            yield _finding(
                "exemption expired",
                f"{store.id} {exemption.name}",
                f"The exemption ended on {exemption.until}.",
                f"Classify it, or let {exemption.owner} decide anew.",
                stops=False,
            )
    named = [("tenants", store.tenants), *(("identities", i) for i in store.identities)]
    named += [("contracts", store.contracts.dataset)] if store.contracts else []
    for key, name in named:
        if name is not None and name not in store.tables:
            yield _finding("name not known", f"{store.id} {key}", f"`{name}` is no dataset of this store.", "Name one of its tables.")
    if store.contracts and (table := store.tables.get(store.contracts.dataset)):
        yield from _columns(table, f"{store.id} contracts", (store.contracts.started, store.contracts.ended))
        yield from _path(store, store.contracts.dataset, store.contracts.tenant, f"{store.id} contracts.tenant", end=store.tenants)
    if store.kind == "postgresql" and store.check_connection is None:
        yield _finding(
            "store unknown",
            store.id,
            "The store has no check_connection.",
            "Name a connection whose role reads everything and writes nothing.",
        )


def _about(name: str, table: Table) -> Iterator[CheckFinding]:
    """Whom a group of columns is about is told by a relation of that name, or by an address in the group."""
    for label in dict.fromkeys(c.about for c in table.columns.values() if c.about is not None):
        group = [c for c in table.columns.values() if c.about == label]
        if label not in table.relations and not any(c.category == "user.contact.email" for c in group):
            yield _finding(
                "name not known",
                f"{name} about {label}",
                "It is no relation of the table, and no column of the group is an address: whom it is about cannot be told.",
                "Name a relation, or put the column with the address (user.contact.email) into the group.",
            )


def _table(store: Store, name: str, table: Table) -> Iterator[CheckFinding]:
    yield from _columns(table, f"{name} key", table.key)
    yield from _columns(table, f"{name} portable", table.portable)
    if table.files is not None:
        yield from _columns(table, f"{name} files", tuple(c for c in (table.files.name, table.files.media_type) if c))
    yield from _about(name, table)
    if table.partition_of is not None and table.partition_of not in store.tables:
        yield _finding("name not known", f"{name} partition_of", "It is no dataset of this store.", "Name one of its tables.")
    for relation_id, relation in table.relations.items():
        where = f"{name}.{relation_id}"
        yield from _columns(table, where, relation.columns, "dangling relation")
        target = store.tables.get(relation.to)
        if target is None:
            yield _finding(
                "dangling relation", where, f"`{relation.to}` is no dataset of this store.", "Add the dataset, or correct `to:`."
            )
            continue
        to_columns = relation.to_columns or target.key
        yield from _columns(target, f"{where} to_columns", to_columns, "dangling relation")
        if len(to_columns) != len(relation.columns):
            yield _finding(
                "dangling relation", where, "It has another number of columns than what it refers to.", "Write one `to_columns` for each."
            )
    for clock_id, clock in table.clocks.items():
        where = f"{name} clock {clock_id}"
        yield from _columns(table, where, (*clock.latest_of, *((clock.otherwise,) if clock.otherwise else ())), "clock not defined")
        end = yield from _path(store, name, clock.through, where)
        if end is not None and clock.column is not None:
            yield from _columns(store.tables[end], where, (clock.column,), "clock not defined")
    for subset_id, conditions in table.subsets.items():
        yield from _columns(table, f"{name} subset {subset_id}", tuple(c.column for c in conditions))
    if table.tenant is not None:
        yield from _path(store, name, table.tenant, f"{name} tenant", end=store.tenants)
    if table.calendar is not None:
        yield from _columns(table, f"{name} calendar", table.calendar.columns)
    for path in table.persons:
        end = yield from _path(store, name, path, f"{name} persons")
        if end is not None and end not in store.identities and not store.by_address(end):
            yield _finding(
                "path leads nowhere",
                f"{name} persons",
                f"The path ends at `{end}`, whose rows are no persons, and have no address.",
                "List it under `identities`, or follow its own way to persons.",
            )
    yield from _hanging(store, name, table)
    for column_id, column in table.columns.items():
        if column.guessed:
            yield _finding(
                "guessed category",
                f"{name}.{column_id}",
                f"`{column.category}` is a guess.",
                "Look at it, then remove `guessed: true`.",
                stops=False,
            )
        if column.personal and not (table.purposes if column.purposes is None else column.purposes):
            yield _finding(
                "personal column not covered",
                f"{name}.{column_id}",
                "It is personal and has no purpose.",
                "Say what it is for.",
                stops=False,
            )


def _hanging(store: Store, name: str, table: Table) -> Iterator[CheckFinding]:
    """Personal rows that hang on one which is found by its address alone: without a path there nobody would find them."""
    if table.persons or table.addresses or table.partition_of is not None or not any(c.personal for c in table.columns.values()):
        return
    for relation_id, relation in table.relations.items():
        if relation.to in store.tables and store.by_address(relation.to) and not store.tables[relation.to].persons:
            yield _finding(
                "rows not found",
                name,
                f"It has personal data and no way to a person; by `{relation_id}` it hangs on `{relation.to}`, whose rows are found by their address.",
                f"Add the path [{relation_id}] to `persons`, so that its rows are found with them.",
                stops=False,
            )


def _files(catalog: Catalog, store: Store, name: str, table: Table) -> Iterator[CheckFinding]:
    """The objects of a table's rows lie in a prefix that is there, are named by a column that is there, and belong to one store's rows."""
    if table.files is None:
        return
    where = f"{name} files"
    yield from _columns(table, where, (table.files.column,))
    if not any(table.files.dataset in s.prefixes for s in catalog.stores):
        yield _finding("name not known", where, f"`{table.files.dataset}` is no prefix of the catalog.", "Name one of a bucket store.")
    named = (other.files for s in catalog.stores if s.id != store.id for other in s.tables.values())
    if any(files and files.dataset == table.files.dataset for files in named):
        fix = "Give each store's files a prefix of their own: whether a row still names an object can be seen in one database only."
        yield _finding("name not known", where, f"Rows of another store have their files in `{table.files.dataset}` too.", fix)


def _columns(table: Table, where: str, columns: tuple[str, ...], kind: Kind = "name not known") -> Iterator[CheckFinding]:
    for column in columns:
        if column not in table.columns:
            yield _finding(kind, where, f"`{column}` is no column of `{table.db_schema}.{table.table}` in the catalog.", "Correct it.")


def _path(store: Store, name: str, path: Path, where: str, end: str | None = None) -> Generator[CheckFinding, None, str | None]:
    """Yields what is wrong with a path; returns the dataset it ends at, None when it leads nowhere."""
    try:
        steps = follow(store, name, path)
    except UnknownName as error:
        yield _finding("path leads nowhere", where, error.problem, error.fix)
        return None
    reached = steps[-1].end if steps else name
    if end is not None and reached != end:
        yield _finding("path leads nowhere", where, f"The path ends at `{reached}` instead of `{end}`.", "Correct it.")
    return reached


def _prefix(name: str, prefix: Prefix) -> Iterator[CheckFinding]:
    for clock_id, clock in prefix.clocks.items():
        if clock.key_date is None:
            continue
        if not clock.key_date.startswith(prefix.prefix):
            yield _finding("clock not defined", f"{name} clock {clock_id}", "`key_date` does not begin with the prefix.", "Begin with it.")
        if not all(part in clock.key_date for part in ("%Y", "%m")):
            yield _finding("clock not defined", f"{name} clock {clock_id}", "`key_date` has no year and month.", "Use %Y, %m and %d.")


def _purposes(catalog: Catalog) -> Iterator[CheckFinding]:
    for name, (_, dataset) in catalog.datasets().items():
        used = [(name, p) for p in dataset.purposes]
        if isinstance(dataset, Table):
            used += [(f"{name}.{c}", p) for c, column in dataset.columns.items() for p in column.purposes or ()]
        for where, purpose in used:
            if purpose not in catalog.purposes:
                yield _finding(
                    "purpose not known", where, f"`{purpose}` is no purpose.", f"Known: {', '.join(sorted(catalog.purposes))}.", stops=False
                )


def _rules(catalog: Catalog, policy: PolicyVersion) -> Iterator[CheckFinding]:
    datasets = catalog.datasets()
    covered = {r.category for r in policy.rules}
    for name, (_, dataset) in datasets.items():
        if dataset.category not in covered:
            yield _finding(
                "category without rule",
                name,
                f"No rule covers its category `{dataset.category}`.",
                "Add a rule to rules.yaml; there is no default period.",
            )
    for rule in policy.rules:
        members = {n: (s, d) for n, (s, d) in datasets.items() if d.category == rule.category}
        if not members and _acts(rule):
            yield _finding(
                "category without dataset", f"rule {rule.id}", f"No dataset has the category `{rule.category}`.", "Correct the category."
            )
        for name, (store, dataset) in members.items():
            if dataset.role != rule.role:
                yield _finding(
                    "role differs", f"rule {rule.id}", f"`{name}` is {dataset.role}, the rule is {rule.role}.", "One of the two is wrong."
                )
            if rule.live_contract == "keeps" and isinstance(dataset, Table) and (dataset.tenant is None or store.contracts is None):
                yield _finding(
                    "path leads nowhere",
                    f"rule {rule.id}",
                    f"`{name}` has no way to a contract.",
                    "Add `tenant:` there and `contracts:` to the store.",
                )
        for category in rule.kept_for:
            if not any(d.category == category and isinstance(d, Table) for _, d in datasets.values()):
                yield _finding(
                    "category without dataset",
                    f"rule {rule.id} kept_for",
                    f"No table has the category `{category}`.",
                    "Correct the category.",
                )
        yield from _names(rule, {n: d for n, (_, d) in members.items() if not catalog.goes_with_rows(n)})
        yield from _archived(rule, {n: d for n, (_, d) in members.items() if not (isinstance(d, Table) and d.partition_of)})


def _acts(rule: Rule) -> bool:
    """May it act once the company has an archive? Everything else that rules need is not there yet."""
    return not set(rule.needs) - {Need.ARCHIVE}


def _archived(rule: Rule, members: dict[str, Table | Prefix]) -> Iterator[CheckFinding]:
    """A rule that archives names columns of each dataset of its category, and of no other."""
    if rule.archive is None:
        return
    where, fix = f"rule {rule.id} archive.columns", "Correct it in rules.yaml: what is not archived is deleted."
    for name in sorted(members.keys() - rule.archive.columns.keys()):
        yield _finding("name not known", where, f"It names no columns of `{name}`.", fix)
    for name, columns in rule.archive.columns.items():
        dataset = members.get(name)
        if not isinstance(dataset, Table):
            yield _finding("name not known", where, f"`{name}` is no table of the category `{rule.category}`.", fix)
            continue
        lacking = [c for c in columns if c not in dataset.columns]
        if lacking:
            yield _finding("name not known", where, f"`{name}` has no column {', '.join(f'`{c}`' for c in lacking)} in the catalog.", fix)
        if not columns:
            yield _finding("name not known", where, f"It names no columns of `{name}`.", fix)


def _names(rule: Rule, members: dict[str, Table | Prefix]) -> Iterator[CheckFinding]:
    """A rule that acts needs its clock and subset in every dataset; one that waits, in one at least."""
    lacking = [n for n, d in members.items() if rule.clock not in d.clocks]
    if lacking and (_acts(rule) or len(lacking) == len(members)):
        yield _finding(
            "clock not defined", f"rule {rule.id}", f"Its clock `{rule.clock}` is not defined in {', '.join(lacking)}.", "Define it there."
        )
    if rule.subset is None:
        return
    lacking = [n for n, d in members.items() if not isinstance(d, Table) or rule.subset not in d.subsets]
    if lacking and (_acts(rule) or len(lacking) == len(members)):
        yield _finding(
            "name not known", f"rule {rule.id}", f"Its subset `{rule.subset}` is not defined in {', '.join(lacking)}.", "Define it there."
        )
