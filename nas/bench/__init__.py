"""FusionBench: a table of real trainings, how it is made, and an arena in which searches are answered from it."""

from nas.bench.errors import BenchError as BenchError
from nas.bench.table import Answer as Answer
from nas.bench.table import Mean as Mean
from nas.bench.table import Table as Table
from nas.bench.table import load as load
from nas.bench.table import query as query
