"""Look before you train: what is installed, what the views look like, what a run would take.

Imports execution, planning and what is below them.
"""
