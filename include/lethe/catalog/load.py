"""A folder of the catalog: `purposes.yaml`, and one file for each store."""

from __future__ import annotations

from pathlib import Path

from lethe.catalog.model import Catalog, Store
from lethe.errors import InvalidFile
from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.yamlfile import Document, read, validate


class PurposesFile(Frozen):
    """`purposes.yaml`: why the company uses data, by id."""

    purposes: dict[Id, str]


def load_catalog(folder: Path) -> Catalog:
    """The catalog in `folder`. Raises InvalidFile with file, line and fix; names that lead nowhere are left to `lethe check`."""
    if not folder.is_dir():
        raise InvalidFile(f"{folder}: there is no such folder.", fix="`lethe scan CONNECTION` writes a first catalog.")
    purposes = validate(PurposesFile, read(folder / "purposes.yaml")).purposes
    documents = [read(p) for p in sorted(folder.glob("*.yaml")) if p.name != "purposes.yaml"]
    stores = tuple(validate(Store, d) for d in documents)
    _refuse_twice(documents, stores)
    return Catalog(purposes=purposes, stores=stores)


def _refuse_twice(documents: list[Document], stores: tuple[Store, ...]) -> None:
    seen: dict[str, str] = {}
    for document, store in zip(documents, stores, strict=True):
        here = [("id", store.id), *(("tables", t) for t in store.tables), *(("prefixes", p) for p in store.prefixes)]
        for part, name in here:
            if name in seen:
                place = ("id",) if part == "id" else (part, name)
                raise document.error(
                    f"`{name}` is used already in {seen[name]}.", *place, fix="Ids of stores and datasets are unique in a catalog."
                )
            seen[name] = document.path.name
