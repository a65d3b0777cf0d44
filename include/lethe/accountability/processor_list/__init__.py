"""The list of processors as of a day: a value, and its files. Pure: the same inputs give the same bytes."""
