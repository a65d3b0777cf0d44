"""Object stores that speak S3: describe a bucket, count what is due under a prefix, delete it version by version.

The unit everywhere is one entry: a version, a delete marker, or an unfinished upload. No key of an object leaves this
package, in a count, an error or an exception: a key can carry a name.
"""

from lethe.stores.s3.client import client
from lethe.stores.s3.compare import Difference, difference
from lethe.stores.s3.count import Survey, count, histogram, survey
from lethe.stores.s3.delete import ObjectBatch, ObjectResult, ObjectTotals, delete_due, remaining
from lethe.stores.s3.describe import Posture, Setting, describe

__all__ = [
    "Difference",
    "ObjectBatch",
    "ObjectResult",
    "ObjectTotals",
    "Posture",
    "Setting",
    "Survey",
    "client",
    "count",
    "delete_due",
    "describe",
    "difference",
    "histogram",
    "remaining",
    "survey",
]
