"""A folder on a Ray cluster: python ray_data.py PHOTOS RESULTS [--actors 8 --gpus 1]

Each actor holds one model. The results are PNG files, and mirror the tree of the folder. It needs Ray (pip install
"ray[data]").
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import ray

BATCH = 8


class Enlarge:
    """An actor that enlarges pictures, several in one call of the network."""

    def __init__(self, model: str) -> None:
        import jaxsr

        self.upscaler = jaxsr.load(model)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        import jaxsr

        images = list(jaxsr.upscale_many(self.upscaler, [np.asarray(image) for image in batch["image"]], batch=BATCH))
        return {"path": batch["path"], "image": images}


def write(row: dict[str, Any], photos: Path, results: Path) -> dict[str, str]:
    from PIL import Image

    source = Path(row["path"]).relative_to(photos)
    path = results / source.with_name(f"{source.name}.png")  # a.jpg and a.png of one folder are two results
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # so that a task that is killed leaves no half of a picture
    Image.fromarray(row["image"]).save(part, "PNG")
    part.replace(path)
    return {"written": str(path)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", default="photo-x4", help="name or file (default: photo-x4)")
    parser.add_argument("--actors", type=int, default=1, help="models at work at a time (default: 1)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each (default: 0)")
    args = parser.parse_args()
    folder, results = args.photos.resolve(), args.results.resolve()
    photos = ray.data.read_images(str(folder), mode="RGB", include_paths=True)  # of the folders below too
    choices = {"fn_constructor_args": (args.model,), "concurrency": args.actors, "num_gpus": args.gpus}
    enlarged = photos.map_batches(Enlarge, batch_size=BATCH, **choices)
    written = enlarged.map(write, fn_args=(folder, results)).take_all()
    print(f"{len(written)} made; results in {results}")


if __name__ == "__main__":
    main()
