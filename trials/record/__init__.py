"""The record of a run: one SQLite file, its schema, its trainings."""
