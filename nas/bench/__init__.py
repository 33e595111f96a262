"""FusionBench: a table of real trainings, how it is made, and an arena in which searches are answered from it."""
