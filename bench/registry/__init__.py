"""Find plugins, and look one up by its name.

Imports contracts and what is below it.
"""

from bench.registry.registry import KINDS, Entry, Failure, Plugin, Registry, singular

__all__ = ["KINDS", "Entry", "Failure", "Plugin", "Registry", "singular"]
