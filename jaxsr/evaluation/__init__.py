"""Evaluation: named protocols, pairs by name, metrics with their variants, intervals, and tables of results."""
