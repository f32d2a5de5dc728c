"""What `verify` compares, chosen by its options, and the table that it prints."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.torch_files.reader import ReadError
from jaxsr.torch_files.rules import ConversionError
from weight_conversion import settings
from weight_conversion.architecture import Config
from weight_conversion.convert import Part, Source, read_source
from weight_conversion.verify import Arrays, GoldenError, Row, load_golden, verify_autoencoder, verify_unet

KINDS = {"unet": "unet", "vq": "autoencoder", "autoencoder": "autoencoder", "sampler": "sampler"}
_TELLING = {"noise": "sampler", "t": "unet", "encode": "autoencoder", "codes": "autoencoder", "decode": "autoencoder"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison that `verify` is asked for.

    Attributes:
        files: the checkpoint; for a sampler, perhaps its partner as well.
        golden: golden arrays, or None.
        torch_repo: the user's checkout of the original code, or None. One of the two is given.
        config: hyperparameters; None reads them off the keys and shapes.
        kind: what the golden file is of; None tells it by its name.
        torch_target: "module:Class" in the checkout; None for the released one.
    """

    files: list[Path]
    golden: Path | None = None
    torch_repo: Path | None = None
    config: Path | None = None
    kind: str | None = None
    torch_target: str | None = None


def rows(options: Comparison) -> Iterator[Row]:
    """The rows of a comparison.

    Raises:
        ValueError, OSError: in one sentence.
    """
    data = read_config(options.config) if options.config else {}
    if options.torch_repo:
        return torch_rows(options, data, options.torch_repo)
    if options.golden is None:
        raise ValueError("give golden arrays or a checkout of the original code to compare with.")
    golden = load_golden(options.golden)
    kind = options.kind or kind_of(options.golden, golden)
    if kind == "sampler":
        return sampler_rows(options, data, options.golden, golden)
    source = _only(options.files)
    expected = "network" if kind == "unet" else "codec"
    if source.part != expected:
        raise ValueError(f"{source.path}: is no file for --kind {kind}.")
    config = config_of(source, data)
    verify: Any = verify_unet if isinstance(config, SwinUNetConfig) else verify_autoencoder
    return _with_context(verify(config, source.float32(config), golden), options.golden)


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file.

    Raises:
        ValueError: if it is no JSON object.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error}).") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold a JSON object.")
    return data


def kind_of(path: Path, golden: Arrays) -> str:
    """The kind that a golden file's name starts with; else the one that its arrays are of.

    Raises:
        ValueError: if neither tells one.
    """
    arrays = {name.rpartition("/")[2] for name in golden}
    kinds = [kind for start, kind in KINDS.items() if path.name.startswith(start)]
    kinds += [kind for name, kind in _TELLING.items() if name in arrays]
    if not kinds:
        raise ValueError(
            f"{path}: its name does not start with {', '.join(KINDS)}, and its arrays are of none; "
            "say what it is with --kind."
        )
    return kinds[0]


def network_settings(source: Source, data: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that is the network's own; nothing where there is none."""
    names = ("model",) if source.part == "network" else ("autoencoder_params", "params")
    inner = next((data[name] for name in names if name in data), data)
    return {} if "diffusion" in inner else inner


def config_of(source: Source, data: dict[str, Any]) -> Config:
    """The network by its configuration or, without one, by its keys and shapes."""
    own = network_settings(source, data)
    if not own:
        return source.architecture()
    return settings.unet_config(own) if source.part == "network" else settings.vq_config(own)


def sampler_rows(options: Comparison, data: dict[str, Any], path: Path, golden: Arrays) -> Iterator[Row]:
    """The rows of a whole chain. A part that is not given is looked for beside the given one and the golden file."""
    from weight_conversion.verify_chain import chain_model, codec_factor, verify_sampler

    if options.config is None or "diffusion" not in data:
        raise ValueError("--config: a sampler needs a configuration with the key 'diffusion'.")
    if missing := {"lr", "noise"} - golden.keys():
        raise ValueError(f"{path}: lacks {' and '.join(sorted(missing))}, without which no chain runs.")
    scale = data["diffusion"].get("sf", 1)
    needed: list[Part] = ["network", "codec"] if codec_factor(scale, golden) > 1 else ["network"]
    sources = {source.part: source for source in map(read_source, options.files)}
    folders = list(dict.fromkeys([options.files[0].parent, path.parent, options.config.parent]))
    for part in needed:
        if part not in sources:
            sources[part] = find_partner(part, scale, golden, folders)
            print(f"{part}: {sources[part].path}")
    configs: dict[Part, Any] = {part: config_of(sources[part], data) for part in needed}
    params = {f"{p}.{name}": a for p, c in configs.items() for name, a in sources[p].float32(c).items()}
    model = chain_model(data["diffusion"], configs["network"], configs.get("codec"))
    return _with_context(verify_sampler(model, data["diffusion"], params, golden), path)


def find_partner(part: Part, scale: int, golden: Arrays, folders: list[Path]) -> Source:
    """The only file in `folders` that is this part of the chain; of equal autoencoders the one that made its z_lr.

    Raises:
        ValueError: if there is none, or more than one.
    """
    from weight_conversion.verify_chain import fits_codec, fits_network, made_z_lr

    found, suffixes = [], (".pth", ".safetensors")
    for path in sorted({p.resolve() for folder in folders for p in folder.iterdir() if p.suffix in suffixes}):
        try:
            source = read_source(path)
            config = source.architecture()
            if fits_network(config, golden) if part == "network" else fits_codec(config, scale, golden):
                found.append(source)
        except (ReadError, ConversionError, OSError):
            continue  # not a file for us
    if part == "codec" and len(found) > 1 and "z_lr" in golden:
        configs: list[Any] = [source.architecture() for source in found]
        made = [made_z_lr(c, source.float32(c), scale, golden) for c, source in zip(configs, found, strict=True)]
        found = [source for source, it in zip(found, made, strict=True) if it]
    if len(found) != 1:
        names = ", ".join(source.path.name for source in found) or "none"
        raise ValueError(f"a sampler needs the file of the {part} too; give it as a second FILE (found here: {names}).")
    return found[0]


def torch_rows(options: Comparison, data: dict[str, Any], repo: Path) -> Iterator[Row]:
    """The rows of a comparison with the original code."""
    from weight_conversion.torch_oracle import TARGETS, verify_torch

    source = _only(options.files)
    config = config_of(source, data)
    arguments = network_settings(source, data) or settings.released_settings(config)
    return verify_torch(source, config, arguments, repo, options.torch_target or TARGETS[source.part])


def largest_errors(rows: Iterable[Row]) -> list[Row]:
    """The row with the largest error of every array; one that is not a number is larger than all."""
    largest: dict[str, Row] = {}
    for row in rows:
        kept = largest.get(row.array)
        if kept is None or (not math.isnan(kept.error) and not row.error <= kept.error):
            largest[row.array] = row
    return list(largest.values())


def print_report(rows: Iterable[Row]) -> bool:
    """Print the largest error of every array and the first row that departs; returns whether one does."""
    found = list(rows)
    first, largest = next((row for row in found if row.departs), None), largest_errors(found)
    for row in largest:
        verdict = "DEPARTS" if row.departs else "ok"
        print(f"{row.array:32} {row.error:.2e}  (allowed {row.tolerance:.0e})  {verdict}  {row.where}".rstrip())
    if not largest:
        print("nothing was compared: the golden file has inputs but no outputs")
    print(f"first block that departs: {f'{first.array} {first.where}'.strip() if first else 'none'}")
    return first is not None or not largest


def _only(files: list[Path]) -> Source:
    if len(files) != 1:
        raise ValueError("give one FILE: only a sampler is made of two.")
    return read_source(files[0])


def _with_context(rows: Iterator[Row], golden: Path) -> Iterator[Row]:
    try:
        yield from rows
    except KeyError as error:
        raise ValueError(f"{golden}: lacks the array {error}; check --kind.") from error
    except GoldenError as error:
        raise ValueError(f"{golden}: {error}") from error
    except (ValueError, TypeError, IndexError) as error:  # what networks, jax and numpy raise for sizes that do not fit
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise ValueError(
            f"{golden}: seems to be of another network; its arrays do not fit this one ({reason})."
        ) from error
