"""Scores of folders of images that can be trusted: protocols, pairs, metrics, tables."""
