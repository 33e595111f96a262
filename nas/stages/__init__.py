"""The stages of a search: each asks what is missing, and does it."""
