"""A calibration before it runs: its choices, checked before anything is read or computed, and its batches."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from jaxsr.calibration import selection_rules
from jaxsr.calibration.scores import hash_networks
from jaxsr.calibration.sweep import Chain
from jaxsr.choices import DEFAULT_FORM, ForwardODE, GradientForm, Objective
from jaxsr.data.pairs import PairSet
from jaxsr.diffusion import Schedule, find_sampler
from jaxsr.guidance.calibration_file import describe_schedule
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options, spell_value
from jaxsr.runtime.progress import PassState
from jaxsr.upscaling.inpainting import check_takes_mask
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.tile_choice import tile_unit
from jaxsr.upscaling.upscaler import Upscaler

LOSSES = {"dB": (0.25, 0.7), "%": (1.0, 3.0)}
"""The largest losses of fidelity that `balanced` and `vivid` allow if none are given, by the unit that they have."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """All choices that decide the numbers of a calibration, besides the model and the pairs.

    Attributes:
        multiples: the grid of Algorithm 1, in the unit of the objective, see `objectives`.
        candidates: the grid of the closed loop; each profile turns its numbers into scales.
        profiles: profiles of the closed loop, see `candidates.expand`.
        temperatures: temperatures to try, each for all steps; with any, a search varies the temperature too.
        projections: strengths of the projection that every candidate is tried with; the first is 0.
        search: rounds of the search over the vector of scales, see `jaxsr.calibration.search`.
        metrics: metrics of the closed loop; without any, it is left out. In rules, the words `fidelity` and
            `perception` stand for the first metric of that kind.
        losses: largest losses of fidelity that `balanced` and `vivid` allow: in dB for a metric in dB, else in percent.
            None stands for LOSSES.
        rule: rule of the preset `rule`; None leaves out this preset.
        seed: seed of the noise.
        gradient: form of the gradient.
        forward_ode, objective: see `Calibration`.
        options: the steps, sampler, thinning and precision.
    Raises:
        ValueError: for metrics of only one kind, an unknown metric, a rule that cannot be parsed, a projection outside
            of 0 to 1, a temperature below 0, or losses that are negative or not in order.
    """

    candidates: tuple[float, ...] = (0.1,)
    multiples: tuple[float, ...] = (0.0, 1.0)
    profiles: tuple[str, ...] = ("constant",)
    temperatures: tuple[float, ...] = ()
    projections: tuple[float, ...] = (0.0,)
    search: int = 0
    metrics: tuple[str, ...] = ()
    losses: tuple[float, float] | None = None
    rule: str | None = None
    seed: int = 0
    gradient: GradientForm = DEFAULT_FORM
    forward_ode: ForwardODE = "diffusion"
    objective: Objective = "norm"
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        kinds = {selection_rules.check_metric(name).kind for name in self.metrics}
        if len(kinds) == 1:
            missing = "perception" if "fidelity" in kinds else "fidelity"
            known = ", ".join(name for name, metric in selection_rules.rule_metrics().items() if metric.kind == missing)
            raise ValueError(f"--closed-loop: needs a metric of {missing} as well; choose among {known}.")
        if self.projections[0] or not all(0 <= strength <= 1 for strength in self.projections):
            raise ValueError("--projections: must be numbers from 0 to 1, and 0 itself is always tried.")
        if min(self.temperatures, default=0) < 0:
            raise ValueError("--temperatures: must be numbers of 0 or more.")
        if self.losses and not 0 <= self.losses[0] <= self.losses[1] < float("inf"):
            raise ValueError("--losses: must be two numbers of 0 or more, the smaller one first, such as 0,0.25.")
        for rule in self.rules.values():
            parsed = selection_rules.parse(rule, self.stands_for("fidelity"), self.stands_for("perception"))
            if unmeasured := {parsed.metric, parsed.guard} - {*self.metrics, None}:
                raise ValueError(f"--rule: {unmeasured.pop()} is not measured; name it in --closed-loop.")

    def stands_for(self, kind: str) -> str:
        """Return the first metric of a kind, which stands for the kind in rules."""
        return next(name for name in self.metrics if selection_rules.check_metric(name).kind == kind)

    @property
    def rules(self) -> dict[str, str]:
        """The rules of the closed loop, by the names of their knob presets."""
        if not self.metrics:
            return {}
        unit = "dB" if selection_rules.check_metric(self.stands_for("fidelity")).unit == "dB" else "%"
        balanced, vivid = self.losses or LOSSES[unit]
        fixed = {
            "faithful": "max fidelity",
            "balanced": f"max perception, lose <= {balanced:.6g} {unit}",
            "vivid": f"max perception, lose <= {vivid:.6g} {unit}",
        }
        return fixed | ({"rule": self.rule} if self.rule else {})


@dataclass(frozen=True, kw_only=True)
class CalibrationRun:
    """One calibration: the model, the pairs, the choices and the batch sizes. `calibrate` carries it out.

    Attributes:
        upscaler, name: the model and its name.
        pairs: pairs to calibrate on.
        choices: choices that decide the numbers.
        batch: images per call and device; affects only speed and memory.
        candidate_batch: candidates in the network at once; affects only speed and memory.
        progress: called after every call.
        announce: called before the work, with the calls of the network for single images that are left, the model and
            the schedule. The calls of a search are not counted.
    """

    upscaler: Upscaler
    name: str
    pairs: PairSet
    choices: Choices
    batch: int = 1
    candidate_batch: int = 16
    progress: Callable[[PassState], None] = lambda state: None
    announce: Callable[[int, Model, Schedule], None] = lambda calls, model, schedule: None


def make_chain(upscaler: Upscaler, pairs: PairSet, choices: Choices) -> Chain:
    """Make the sampler to calibrate. Raises ValueError for steps or crops that do not fit the model."""
    preset, options = upscaler.preset, choices.options
    check_takes_mask(preset, given=False)
    if pairs.crop % (unit := tile_unit(preset)):
        raise ValueError(f"--crop: must be a multiple of {unit} for this model, got {pairs.crop}.")
    sampler = options.sampler or preset.sampler
    schedule = schedule_for(preset, options)
    if choices.temperatures and not (find_sampler(sampler).draws_noise and schedule.steps > 1):
        steps = f"{schedule.steps} step{'s' if schedule.steps > 1 else ''}"
        raise ValueError(f"--temperatures: no noise is drawn at the steps of {sampler} with {steps}; leave it out.")
    return Chain(Model(preset, DTYPES[options.precision]), schedule, sampler, choices.gradient)


def describe(upscaler: Upscaler, pairs: PairSet, choices: Choices) -> dict[str, Any]:
    """Describe all that decides the numbers. The calibration file records it, and a stopped run must agree with it.

    Raises ValueError for steps or crops that do not fit the model, and the errors of `hash_networks`.
    """
    chain, stated = make_chain(upscaler, pairs, choices), asdict(choices)
    del stated["options"], stated["gradient"]
    stated |= asdict(choices.gradient)
    options = {key: spell_value(getattr(choices.options, key)) for key in ("thinning", "precision")}
    made_with = {"model_sha256": upscaler.sha256, "schedule": describe_schedule(chain.schedule)}
    data = {
        "sampler": chain.sampler,
        "data": pairs.describe(),
        "candidates": list(choices.candidates),
        "multiples": list(choices.multiples),
    }
    networks = hash_networks(choices.metrics)
    return stated | options | made_with | data | ({"metric_weights": networks} if networks else {})
