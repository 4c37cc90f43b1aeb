"""Measures of predictions and of embeddings.

Imports config, errors and keys.
"""
