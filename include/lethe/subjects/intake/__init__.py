"""The drop box: files of requests that a ticket system puts into a bucket."""

from lethe.subjects.intake.taking import Taken, Waiting, list_files, take_files

__all__ = ["Taken", "Waiting", "list_files", "take_files"]
