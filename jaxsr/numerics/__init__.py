"""The study of the few-step error: instruments that are pure functions of a denoiser and a schedule."""
