"""The base of every value in Lethe: immutable, and unknown keys are refused instead of dropped in silence."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value; a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, populate_by_name=True)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8 kept. What digests are taken over.

    `value` is a pydantic model or anything JSON knows; a float or an unknown type raises TypeError.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256, in hex, of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
