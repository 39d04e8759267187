"""The version of the computation, by which results of different code can be told apart."""

# Raise this by one with every change of the code that changes a node's numbers by more than
# rounding. Nodes' metrics record it; tests/unit/test_computation.py notices if it was forgotten.
VERSION = 2
