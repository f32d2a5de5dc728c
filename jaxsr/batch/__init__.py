"""A batch turns files into files: it lists jobs, forecasts their cost, and writes each result with a sidecar.

It does not know the command line, nor what the network and the sampler compute.
"""
