"""Accountability (GDPR Article 5(2)): what is owed, by when, and what proves it."""
