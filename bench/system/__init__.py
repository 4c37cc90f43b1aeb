"""The machine: devices, processes, memory, time.

Imports config, errors and keys.
"""
