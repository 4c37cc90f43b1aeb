"""What a plugin author extends and is given: a file a kind of plugin.

Imports augmentation, splits and what is below them.
"""
