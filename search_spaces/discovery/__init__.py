"""Fusion points in a user's own network: traced, listed, made searchable with its weights."""

from search_spaces.discovery.design import DiscoveredDesign
from search_spaces.discovery.merges import NotVaried
from search_spaces.discovery.space import DiscoveredSpace, discover, examine

__all__ = ["DiscoveredDesign", "DiscoveredSpace", "NotVaried", "discover", "examine"]
