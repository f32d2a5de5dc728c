"""Evaluation: named protocols, pairs by name, metrics with their variants, intervals, and tables of results.

This package knows neither networks nor diffusion: it scores every result in the same way, whatever made it.
"""
