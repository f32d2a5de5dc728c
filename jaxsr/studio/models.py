"""The models that clients may choose, and the one that is in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsr.hub.cards import DEFAULT_MODEL, ModelCard, find_card, known_models
from jaxsr.hub.resolve import LicenceError, UnknownModelError
from jaxsr.runtime.compilation import enable_compilation_cache
from jaxsr.upscaling.loading import load
from jaxsr.upscaling.preview import Preview
from jaxsr.upscaling.upscaler import Upscaler


@dataclass(frozen=True, eq=False)
class Resident:
    """The model in memory: its name as a client knows it, its name or path for commands, and its preview."""

    name: str
    source: str
    upscaler: Upscaler
    preview: Preview


class Models:
    """The models by name, of which one at a time is in memory. Only the thread of the worker may call `resident`.

    Args:
        chosen: the model of the start: a known name, or a path or `hf:` name, which no client can give.
        accept_license: whether the user accepts non-commercial licences; without, such models are refused.
        loader: loads a model.
    """

    def __init__(
        self, chosen: str = DEFAULT_MODEL, *, accept_license: bool = False, loader: Callable[..., Upscaler] = load
    ) -> None:
        card = find_card(chosen)
        self.default = card.name if card else Path(chosen.removeprefix("hf:")).stem
        self.accept_license = accept_license
        self._sources = {card.name: card.name for card in known_models()} | {self.default: chosen}
        self._loader = loader
        self._resident: Resident | None = None

    def check(self, name: str | None) -> str:
        """Return the name of a model that a client may use; None is the default.

        Raises:
            UnknownModelError: for an unknown name. A path is none.
            LicenceError: for a non-commercial model whose licence was not accepted at the start.
        """
        name = self.default if name is None else name
        if name not in self._sources:
            raise UnknownModelError(f"model: there is no {name[:60]!r}; choose one of {', '.join(self._sources)}.")
        card = find_card(self._sources[name])
        if card is not None and card.licence.noncommercial and not self.accept_license:
            raise LicenceError(
                f"model: {name} is for non-commercial use ({card.licence.name}, {card.licence.url}); whoever runs this "
                "server accepts that with --accept-license at its start."
            )
        return name

    def resident(self, name: str) -> Resident:
        """Return a model, loaded in place of another one if need be. Raises what `check` and `load` raise."""
        name = self.check(name)
        if self._resident is None or self._resident.name != name:
            self._resident = None  # so that memory never holds two
            source = self._sources[name]
            upscaler = self._loader(source, accept_license=self.accept_license)
            enable_compilation_cache(upscaler.preset.network.model_channels)
            self._resident = Resident(name, source, upscaler, Preview(upscaler))
        return self._resident

    def describe(self) -> list[dict[str, Any]]:
        """Describe all models as plain JSON, the default first."""
        names = [self.default, *(name for name in self._sources if name != self.default)]
        return [self._describe(name, find_card(self._sources[name])) for name in names]

    def _describe(self, name: str, card: ModelCard | None) -> dict[str, Any]:
        if card is None:
            return {"name": name, "description": "a checkpoint of this machine", "usable": True, "licence": None}
        licence = card.licence
        return {
            "name": name,
            "description": card.description,
            "scale": card.scale,
            "usable": self.accept_license or not licence.noncommercial,
            "bundled": card.bundled,
            "needs_mask": card.needs_mask,
            "licence": {
                "name": licence.name,
                "url": licence.url,
                "noncommercial": licence.noncommercial,
                "notice": licence.notice,
            },
        }


def read_card(resident: Resident) -> str:
    """Return the model card of a model as Markdown; its preset in a few lines if there is no card beside its file."""
    file = resident.upscaler.source.parent / "README.md"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    preset, card = resident.upscaler.preset, find_card(resident.source)
    about = f"{card.description}; {card.licence.name} ({card.licence.url}): {card.licence.notice}." if card else ""
    lines = [f"# {resident.name}", about, f"{preset.steps} steps, x{preset.scale}, sampler {preset.sampler}."]
    return "\n\n".join(line for line in lines if line)
