"""What of an entry may be shown to a person who asks, and what stays inside: each field of the register's models says it itself. Pure.

A field without the marker `SHOWN` is internal, so a field that somebody adds is not published by forgetting it.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel


class Shown:
    """The marker of a field that may be shown to a person who asks. Use its one instance, `SHOWN`, in `Annotated`."""

    def __repr__(self) -> str:
        return "SHOWN"


SHOWN: Final = Shown()


def shown_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that may be shown to a person who asks, in the order of the model."""
    return tuple(name for name, f in model.model_fields.items() if any(isinstance(m, Shown) for m in f.metadata))


def internal_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """All other fields."""
    shown = set(shown_fields(model))
    return tuple(name for name in model.model_fields if name not in shown)


def shown(value: BaseModel) -> dict[str, Any]:
    """`value` as plain JSON, with nothing in it but what may be shown."""
    return value.model_dump(mode="json", include=set(shown_fields(type(value))))
