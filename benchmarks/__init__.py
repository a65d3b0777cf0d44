"""Ratios in one run, on one machine, beside the targets. `make bench` prints them and writes `latest.json`."""

import lethe as lethe  # before pyarrow: it says which memory pool that takes
