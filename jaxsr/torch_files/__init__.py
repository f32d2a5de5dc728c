"""PyTorch's files are read here without PyTorch, and rules that are data turn their keys into names of parameters.

This room runs no code that a file holds, and does not know which networks the parameters belong to.
"""
