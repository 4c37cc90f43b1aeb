"""How probes are fitted: logistic regression, perceptrons, SGD.

Imports bench.api alone.
"""
