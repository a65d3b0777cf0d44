"""A bundle: a person's data as files that anybody can read and check."""
