"""A file for people, written whole or not at all; an older one there stays until the new one is on disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lethe.errors import ReportNotWritten


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, and makes its folders.

    Raises ReportNotWritten when the disk is full or the folder cannot be written; the evidence is in the ledger anyway.
    """
    unfinished: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".report-", suffix=path.suffix, delete=False) as file:
            unfinished = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(path)
    except OSError as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        raise ReportNotWritten(
            f"The report could not be written to {path} ({error.strerror or type(error).__name__}).",
            fix="Free space or correct the folder, then render it again: nothing of the run is lost, its evidence is in the ledger.",
        ) from None
