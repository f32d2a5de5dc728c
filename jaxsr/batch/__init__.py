"""A batch enlarges many files: it lists jobs, forecasts their cost, and writes each result with a sidecar.

It knows neither the command line nor the computation in the network and the sampler.
"""
