"""Lethe keeps a company's published privacy policy, and proves it."""

import os

POOL = os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""The pool that pyarrow's C++ takes for the process's life when it is first imported (`archive/memory.py` says why this one)."""
