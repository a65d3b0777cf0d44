"""Is the text the one that people were promised?"""

from __future__ import annotations

from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.published import difference


def as_published(look: Look) -> Seen:
    """The text against its declared digest and against the first report on its version."""
    return look.now(difference(look.records, look.policy, look.text))
