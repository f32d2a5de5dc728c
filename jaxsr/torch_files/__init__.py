"""PyTorch's files are read here without PyTorch. Rules, written as data, map their keys to the names of parameters.

This room never runs code from a file, and does not know to which networks the parameters belong.
"""
