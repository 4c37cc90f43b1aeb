"""Make what is missing of each cell, and record what happened.

Imports planning, the stages (pretraining, evaluation) and what is below them.
"""
