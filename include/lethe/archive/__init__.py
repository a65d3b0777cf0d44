"""The archive: what a law keeps after the retention period, in Parquet objects of their own bucket, until it expires.

A purge hands over rows (`purge/archiving.py`); they become objects by the day on which they expire (`write.py`), each with a manifest
in `lethe_db` (`manifests.py`) and beside it (`bucket.py`). Reading is an act (`reading.py`); finding a person opens nothing (`finding.py`).
"""
