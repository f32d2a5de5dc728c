"""Metrics judge a result by numbers: against its original, against its input, or by itself, with intervals.

They do not know how the result was made: neither models nor diffusion nor options.
"""
