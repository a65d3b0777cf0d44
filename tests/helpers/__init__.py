"""What several test folders share: values and small programs, no tests."""
