"""Searches answered from a table: worlds, a simulated clock, methods, and the comparison of them."""

from nas.bench.arena.judging import Judged as Judged
from nas.bench.arena.judging import judge as judge
from nas.bench.arena.playing import Ask as Ask
from nas.bench.arena.playing import Brief as Brief
from nas.bench.arena.playing import Method as Method
from nas.bench.arena.playing import Told as Told
from nas.bench.arena.playing import brief_of as brief_of
from nas.bench.arena.playing import play as play
from nas.bench.arena.worlds import World as World
from nas.bench.arena.worlds import table_world as table_world
