"""Lethe keeps a company's published privacy policy, and proves it."""
