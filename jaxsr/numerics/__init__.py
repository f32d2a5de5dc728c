"""The study of the few-step error: instruments that are pure functions of a denoiser and a schedule.

It does not know the commands, the evaluation of results, or how a model was trained.
"""
