"""Evaluation: named protocols, pairs by name, metrics with their variants, intervals, and tables of results.

It does not know networks or diffusion: a result is scored alike, whoever made it.
"""
