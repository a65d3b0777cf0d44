"""The independent check: another reader of the predicate, by other queries, in another role (invariant 5)."""
