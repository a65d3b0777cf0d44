"""Lethe keeps a company's published privacy policy, and proves it."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # before pyarrow, which asks once: see archive/memory.py
