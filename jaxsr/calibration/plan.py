"""What a calibration is asked for, checked before anything is read or computed."""

from dataclasses import asdict, dataclass, field
from typing import Any

from jaxsr.calibration import rules
from jaxsr.calibration.scores import hash_networks
from jaxsr.calibration.sweep import Chain
from jaxsr.choices import DEFAULT_FORM, ForwardODE, GradientForm, Objective
from jaxsr.data.pairs import PairSet
from jaxsr.guidance.calibration_file import describe_schedule
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for, tile_unit
from jaxsr.upscaling.upscaler import Upscaler

LOSSES = {"dB": ("0.25 dB", "0.7 dB"), None: ("1 %", "3 %")}
"""What `balanced` and `vivid` may lose, by the unit of the fidelity metric."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What decides the numbers of a calibration, besides model and pairs; words as of `Calibration`.

    Attributes:
        candidates: the grid of scales.
        profiles: see `candidates.expand`; for the closed loop.
        metrics: of the closed loop; none leaves it out. The first of either kind stands for `fidelity` and
            `perception` in rules.
        rule: the rule of the preset `rule`, or None for no such preset.
        seed: of the noise.
        gradient, forward_ode, objective: as of `Calibration`.
        options: steps, sampler, thinning and precision.
    Raises:
        ValueError: for metrics of one kind alone, unknown ones, or a rule that is not understood.
    """

    candidates: tuple[float, ...]
    profiles: tuple[str, ...] = ("constant",)
    metrics: tuple[str, ...] = ()
    rule: str | None = None
    seed: int = 0
    gradient: GradientForm = DEFAULT_FORM
    forward_ode: ForwardODE = "diffusion"
    objective: Objective = "norm"
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        kinds = {rules.check_metric(name).kind for name in self.metrics}
        if len(kinds) == 1:
            missing = "perception" if "fidelity" in kinds else "fidelity"
            known = ", ".join(name for name, metric in rules.rule_metrics().items() if metric.kind == missing)
            raise ValueError(f"--closed-loop: needs a metric of {missing} as well; choose among {known}.")
        for rule in self.rules.values():
            parsed = rules.parse(rule, self.stands_for("fidelity"), self.stands_for("perception"))
            if unmeasured := {parsed.metric, parsed.guard} - {*self.metrics, None}:
                raise ValueError(f"--rule: {unmeasured.pop()} is not measured; name it in --closed-loop.")

    def stands_for(self, kind: str) -> str:
        """The first metric of a kind."""
        return next(name for name in self.metrics if rules.check_metric(name).kind == kind)

    @property
    def rules(self) -> dict[str, str]:
        """Name of a knob preset -> rule of the closed loop."""
        if not self.metrics:
            return {}
        balanced, vivid = LOSSES[rules.check_metric(self.stands_for("fidelity")).unit]
        fixed = {
            "faithful": "max fidelity",
            "balanced": f"max perception, lose <= {balanced}",
            "vivid": f"max perception, lose <= {vivid}",
        }
        return fixed | ({"rule": self.rule} if self.rule else {})


def make_chain(upscaler: Upscaler, pairs: PairSet, choices: Choices) -> Chain:
    """The sampler that is calibrated. Raises ValueError for steps or crops that do not fit the model."""
    preset, options = upscaler.preset, choices.options
    if pairs.crop % (unit := tile_unit(preset)):
        raise ValueError(f"--crop: must be a multiple of {unit} for this model, got {pairs.crop}.")
    sampler = options.sampler or preset.sampler
    return Chain(Model(preset, DTYPES[options.precision]), schedule_for(preset, options), sampler, choices.gradient)


def describe(upscaler: Upscaler, pairs: PairSet, choices: Choices) -> dict[str, Any]:
    """All that decides the numbers: what the calibration file says of itself, and what a stopped run must agree in.

    Raises ValueError for steps or crops that do not fit the model, and as `hash_networks`.
    """
    chain, stated = make_chain(upscaler, pairs, choices), asdict(choices)
    del stated["options"], stated["gradient"]
    stated |= asdict(choices.gradient)
    options = {key: getattr(choices.options, key) for key in ("thinning", "precision")}
    made_with = {"model_sha256": upscaler.sha256, "schedule": describe_schedule(chain.schedule)}
    data = {
        "sampler": chain.sampler,
        "data": pairs.describe(),
        "candidates": list(choices.candidates),
    }
    networks = hash_networks(choices.metrics)
    return stated | options | made_with | data | ({"metric_weights": networks} if networks else {})
