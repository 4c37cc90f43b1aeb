"""From a frozen backbone to the features and the labelled rows that an evaluator is given.

Imports contracts and what is below it.
"""
