"""A bundle: a person's data as files that anybody can read and check."""

from lethe.subjects.bundle.model import About, Part
from lethe.subjects.bundle.writing import write_bundle

__all__ = ["About", "Part", "write_bundle"]
