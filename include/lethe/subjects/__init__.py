"""What persons ask for: their requests, and who they say they are."""
