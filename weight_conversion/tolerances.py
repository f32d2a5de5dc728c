"""Largest relative errors that are allowed against golden arrays: the one table, of `verify` and of the tests.

An error is max |ours - golden| / max |golden|. Numbers are loosened only with a written cause.
"""

TOLERANCES = {
    # A network in float32, and each of its blocks. Measured: at most 4.5e-6.
    "network": 1e-5,
    # The gradient through a network. Measured: at most 6.2e-6, and the golden gradient itself is up to 4.3e-6 off that
    # in float64: 1e-5 would leave too little for both.
    "gradient": 2e-5,
    # The same networks computing in bfloat16, whose numbers have 8 bits (each rounding is up to 4e-3).
    "bfloat16": 5e-2,
    # A whole chain of steps before its result is snapped to codes: the errors of its steps add up.
    "chain": 1e-4,
    # Schedules are float64 on the host.
    "schedule": 1e-12,
    # How much farther than the golden code ours may be, over |z|^2 + |code|^2: near-ties may flip with the order of
    # summation (facts of the golden case: margins of 5e-6 exist).
    "code": 1e-6,
}
