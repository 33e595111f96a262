"""Trainings: what is wanted less what is known, by an engine, into the record; and what they start from."""
