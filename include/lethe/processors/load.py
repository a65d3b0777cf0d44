"""`processors.yaml`, beside `disclosure.yaml` in the company's folder."""

from __future__ import annotations

from pathlib import Path

from lethe.processors.model import Register
from lethe.yamlfile import load

FILE = "processors.yaml"


def load_register(folder: Path) -> Register:
    """The register of the company's folder. Raises InvalidFile with file, line and fix; what it claims falsely is found by `lethe check`."""
    return load(Register, folder / FILE)
