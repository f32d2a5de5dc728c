"""jaxsr: posterior diffusion super-resolution in JAX."""
