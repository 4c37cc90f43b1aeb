"""How the cells of a grid are shared out: in this process, or over several.

Imports execution.
"""
