"""The largest relative errors allowed against golden arrays: one table for `verify` and for the tests.

The relative error is max |ours - golden| / max |golden|. A tolerance is raised only for a reason that is written here.
"""

TOLERANCES = {
    # A network in float32, and each of its blocks. Measured: at most 4.5e-6.
    "network": 1e-5,
    # The gradient through a network. Measured: at most 6.2e-6. The golden gradient itself differs from the float64
    # gradient by up to 4.3e-6, and 1e-5 would leave too little for both.
    "gradient": 2e-5,
    # The same networks computing in bfloat16, which has 8 bits of precision (each rounding is up to 4e-3).
    "bfloat16": 5e-2,
    # A whole chain of steps, before its result is quantised to codes: the errors of the steps add up.
    "chain": 1e-4,
    # The schedule, which is float64 on the host.
    "schedule": 1e-12,
    # The excess squared distance of our code over the golden code, divided by |z|^2 + |code|^2. Near-ties may flip with
    # the order of summation (the golden case has margins of 5e-6).
    "code": 1e-6,
}
