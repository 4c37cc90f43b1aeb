"""Which rows are labelled, held out or kept: stratified draws that are the same everywhere.

Imports config, errors and keys.
"""
