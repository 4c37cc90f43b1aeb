"""Images in files: which there are, and their decoding, packing and loading on demand.

Imports bench.api alone.
"""
