"""Searches that are killed, starved and deceived on purpose, and what is left of them: `python -m benchmarks chaos`.

deaths     what a process writes, counted; at the k-th write it is killed, or the disk is full
answers    an engine whose trainings cost nothing, through the same session, stages and record
searches   what is searched, in forks of a warm process
judging    what must hold afterwards, read from the files by themselves
kills      where searches are killed, in one process
on_ray     the same, with a Ray of three workers
faults     full disks, read-only folders, locks, damaged files, other schemas, other clocks
nodes      nodes of a Ray that go, and one on which every worker dies
broken     trainings that go wrong: each kind, in a worker
chaos      all of it, as a table
"""
