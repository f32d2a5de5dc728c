"""The two Gaussians of the backbone: forward marginal (F) and reverse step (R), ResShift (NeurIPS 2023)."""

from jaxtyping import Array, Float

from jaxsr.diffusion.schedule import StepTables

Latent = Float[Array, "*b h w c"]
Rows = Float[Array, "*#b 1 1 1"] | Float[Array, ""] | float


def forward_mean(x0: Latent, z_lr: Latent, eta: Rows) -> Latent:
    """Compute the mean of q(x_t | x_0, y_0), equation (F): x_0 + eta_t (y_0 - x_0). `eta` broadcasts to the latents."""
    return x0 + eta * (z_lr - x0)


def forward_sample(x0: Latent, z_lr: Latent, eps: Latent, eta: Rows, kappa: float) -> Latent:
    """Draw from q(x_t | x_0, y_0), equation (F): its mean plus kappa sqrt(eta_t) eps, for standard normal `eps`."""
    return forward_mean(x0, z_lr, eta) + kappa * eta**0.5 * eps


def reverse_mean(x_t: Latent, x0: Latent, row: StepTables) -> Latent:
    """Compute the mean of q(x_{t-1} | x_t, x_0), equation (R): (eta_{t-1}/eta_t) x_t + (eta_step_t/eta_t) x_0."""
    return row.coef_x * x_t + row.coef_x0 * x0
