"""Measurements that are run by hand (`make bench`): how fast it is, beside what else one could use."""
