"""The comparison that the options of `verify` select, and the table that the command prints."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.plain_data import parse_json
from jaxsr.torch_files.key_rules import ConversionError
from jaxsr.torch_files.reader import ReadError
from weight_conversion import settings
from weight_conversion.architecture import Config
from weight_conversion.convert import Part, Source, print_ignored, read_source
from weight_conversion.verify import Arrays, GoldenError, Row, load_golden, verify_autoencoder, verify_unet

KINDS = {"unet": "unet", "vq": "autoencoder", "autoencoder": "autoencoder", "sampler": "sampler"}
# Arrays that occur in one kind of golden file only.
_ARRAY_KINDS = {
    "noise": "sampler",
    "t": "unet",
    "encode": "autoencoder",
    "codes": "autoencoder",
    "decode": "autoencoder",
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison that the user requests from `verify`. Either `golden` or `torch_repo` is given.

    Attributes:
        files: the checkpoint; for a sampler, optionally its partner as well.
        golden: file of golden arrays, or None.
        torch_repo: the user's checkout of the original code, or None.
        config: file of hyperparameters; None infers them from the keys and shapes.
        kind: kind of the golden file; None infers it from the name and the arrays of the file.
        torch_target: "module:Class" in the checkout; None is the class of the released code.
    """

    files: list[Path]
    golden: Path | None = None
    torch_repo: Path | None = None
    config: Path | None = None
    kind: str | None = None
    torch_target: str | None = None


def rows(options: Comparison) -> Iterator[Row]:
    """Make the rows of a comparison.

    Raises:
        ValueError, OSError: if that fails; the message is one sentence.
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
        raise ValueError(f"{source.path}: is not a file for --kind {kind}; give the {expected}'s file.")
    config = config_of(source, data)
    verify: Any = verify_unet if isinstance(config, SwinUNetConfig) else verify_autoencoder
    return _with_context(verify(config, source.float32(config), golden), options.golden)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ValueError: if the file is not a JSON object.
    """
    try:
        data = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); check the name.") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold a JSON object.")
    return data


def kind_of(path: Path, golden: Arrays) -> str:
    """Infer the kind of a golden file from the start of its name, or else from its arrays.

    Raises:
        ValueError: if neither identifies a kind.
    """
    arrays = {name.rpartition("/")[2] for name in golden}
    kinds = [kind for start, kind in KINDS.items() if path.name.startswith(start)]
    kinds += [kind for name, kind in _ARRAY_KINDS.items() if name in arrays]
    if not kinds:
        raise ValueError(
            f"{path}: neither its name, which should start with one of {', '.join(KINDS)}, nor its arrays identify its "
            "kind; say what it is with --kind."
        )
    return kinds[0]


def network_settings(source: Source, data: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that describes this network; empty if there is none."""
    names = ("model",) if source.part == "network" else ("autoencoder_params", "params")
    inner = next((data[name] for name in names if name in data), data)
    return {} if "diffusion" in inner else inner


def config_of(source: Source, data: dict[str, Any]) -> Config:
    """Return the network's configuration, from the configuration file or, without one, from its keys and shapes."""
    own = network_settings(source, data)
    if not own:
        return source.architecture()
    return settings.unet_config(own) if source.part == "network" else settings.vq_config(own)


def sampler_rows(options: Comparison, data: dict[str, Any], path: Path, golden: Arrays) -> Iterator[Row]:
    """Make the rows of a whole chain.

    A part that is not given is searched for in the folders of the given file, the golden file and the configuration.
    """
    from weight_conversion.verify_chain import chain_model, codec_factor, verify_sampler

    if options.config is None or "diffusion" not in data:
        raise ValueError("--config: give a configuration with the key 'diffusion', which a sampler needs.")
    if missing := {"lr", "noise"} - golden.keys():
        raise ValueError(f"{path}: lacks {' and '.join(sorted(missing))}, which a chain needs; give another file.")
    scale = data["diffusion"].get("sf", 1)
    needed: list[Part] = ["network", "codec"] if codec_factor(scale, golden) > 1 else ["network"]
    sources = {source.part: source for source in map(read_source, options.files)}
    folders = list(dict.fromkeys([options.files[0].parent, path.parent, options.config.parent]))
    for part in needed:
        if part not in sources:
            sources[part] = find_partner(part, scale, golden, folders)
            print(f"{part}: {sources[part].path}")
    for part in needed:
        print_ignored(sources[part])
    configs: dict[Part, Any] = {part: config_of(sources[part], data) for part in needed}
    params = {
        f"{part}.{name}": array
        for part, config in configs.items()
        for name, array in sources[part].float32(config).items()
    }
    model = chain_model(data["diffusion"], configs["network"], configs.get("codec"))
    return _with_context(verify_sampler(model, data["diffusion"], params, golden), path)


def find_partner(part: Part, scale: int, golden: Arrays, folders: list[Path]) -> Source:
    """Find the only file in `folders` that is this part of the chain.

    Among autoencoders of one layout, it is the one that produces the chain's z_lr.

    Raises:
        ValueError: if there is no such file, or more than one.
    """
    from weight_conversion.verify_chain import fits_codec, fits_network, made_z_lr

    candidates, suffixes = [], (".pth", ".safetensors")
    for path in sorted({p.resolve() for folder in folders for p in folder.iterdir() if p.suffix in suffixes}):
        try:
            source = read_source(path)
            config = source.architecture()
            if fits_network(config, golden) if part == "network" else fits_codec(config, scale, golden):
                candidates.append(source)
        except (ReadError, ConversionError, OSError):
            continue  # not a checkpoint of this part
    if part == "codec" and len(candidates) > 1 and "z_lr" in golden:
        configs: list[Any] = [source.architecture() for source in candidates]
        matches = [
            made_z_lr(c, source.float32(c), scale, golden) for c, source in zip(configs, candidates, strict=True)
        ]
        candidates = [source for source, match in zip(candidates, matches, strict=True) if match]
    if len(candidates) != 1:
        names = ", ".join(source.path.name for source in candidates) or "none"
        raise ValueError(f"a sampler needs the file of the {part} too; give it as a second FILE (found here: {names}).")
    return candidates[0]


def torch_rows(options: Comparison, data: dict[str, Any], repo: Path) -> Iterator[Row]:
    """Make the rows of a comparison with the original code."""
    from weight_conversion.torch_oracle import TARGETS, verify_torch

    source = _only(options.files)
    config = config_of(source, data)
    arguments = network_settings(source, data) or settings.released_settings(config)
    return verify_torch(source, config, arguments, repo, options.torch_target or TARGETS[source.part])


def largest_errors(rows: Iterable[Row]) -> list[Row]:
    """Select the row with the largest error of every array. NaN counts as larger than all numbers."""
    largest: dict[str, Row] = {}
    for row in rows:
        previous = largest.get(row.array)
        if previous is None or (not math.isnan(previous.error) and not row.error <= previous.error):
            largest[row.array] = row
    return list(largest.values())


def print_report(rows: Iterable[Row]) -> bool:
    """Print the largest error of every array and the first row that departs.

    Returns whether a row departs, or nothing was compared.
    """
    all_rows = list(rows)
    first, largest = next((row for row in all_rows if row.departs), None), largest_errors(all_rows)
    for row in largest:
        verdict = "DEPARTS" if row.departs else "ok"
        print(f"{row.array:32} {row.error:.2e}  (allowed {row.tolerance:.0e})  {verdict}  {row.where}".rstrip())
    if not largest:
        print("nothing was compared, because the golden file has inputs but no outputs")
    print(f"first block that departs: {f'{first.array} {first.where}'.strip() if first else 'none'}")
    return first is not None or not largest


def _only(files: list[Path]) -> Source:
    if len(files) != 1:
        raise ValueError("give one FILE; only a sampler takes two.")
    source = read_source(files[0])
    print_ignored(source)
    return source


def _with_context(rows: Iterator[Row], golden: Path) -> Iterator[Row]:
    try:
        yield from rows
    except KeyError as error:
        raise ValueError(f"{golden}: lacks the array {error}; check --kind.") from error
    except GoldenError as error:
        raise ValueError(f"{golden}: {error}") from error
    except (ValueError, TypeError, IndexError) as error:  # raised by networks, JAX and NumPy for sizes that do not fit
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise ValueError(
            f"{golden}: seems to belong to another network, because its arrays do not fit this one ({reason}); "
            "check the names of both files."
        ) from error
