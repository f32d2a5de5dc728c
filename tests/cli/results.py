"""Read results of the evaluate command."""

from pathlib import Path

from jaxsr.evaluation.result import Result


def read(tmp_path: Path, name: str = "result.json") -> Result:
    return Result.read(tmp_path / name)


def psnrs(result: Result) -> dict[str, float]:
    return {row["image"]: row["psnr"] for row in result.images}
