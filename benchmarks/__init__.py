"""Ratios in one run, on one machine, beside the targets. `make bench` prints them and writes `latest.json`."""
