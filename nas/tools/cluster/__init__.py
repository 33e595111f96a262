"""Whether the nodes of a cluster are fit to search on, and alike: a minute's smoke."""
