"""The one training loop, and what it is made of.

Imports contracts and what is below it.
"""
