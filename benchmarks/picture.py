"""Draw LR, rivals, the model, its presets and the original side by side: the README's picture, and docs/gallery.md's.

python -m benchmarks.picture --hr kodak24/23.webp --box 120,170,110,110 --zoom 3 -o docs/images/comparison.png

The LR image is a bicubic reduction, or with --camera what a camera makes of the photograph: blurred, noisy, compressed.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxsr
from benchmarks.quality import to_uint8
from benchmarks.rivals import installed
from jaxsr.cli.shared_options import whole
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.camera import camera

SCALE, GAP, CAPTION = 4, 8, 26


def make_lr(hr: np.ndarray, seed: int | None) -> np.ndarray:
    """Reduce a photograph bicubically, or as a camera does if there is a seed."""
    return downsample_bicubic_uint8(hr, SCALE) if seed is None else camera(hr, SCALE, np.random.default_rng(seed))


def panels(hr: np.ndarray, lr: np.ndarray, args: argparse.Namespace) -> dict[str, Image.Image]:
    """Make the versions of a photograph, all at the size of `hr` (h, w, 3), uint8."""
    upscaler = jaxsr.load(args.model)
    size, small = (hr.shape[1], hr.shape[0]), Image.fromarray(lr)
    rivals = {name: upscale for name, upscale in installed(args.wheels).items() if name in args.rivals}
    return {
        "LR": small.resize(size, Image.Resampling.NEAREST),
        **{name: Image.fromarray(to_uint8(upscale(lr))) for name, upscale in rivals.items()},
        **{
            name: Image.fromarray(upscaler.upscale(lr, seed=args.seed, preset=None if name == "plain" else name))
            for name in args.presets
        },
        "original": Image.fromarray(hr),
    }


def lay_out(parts: dict[str, Image.Image], size: tuple[int, int], columns: int) -> Image.Image:
    """Draw the parts in rows, each enlarged to `size` (width, height) without smoothing and below its name."""
    (w, h), rows = size, -(-len(parts) // columns)
    sheet = Image.new("RGB", (columns * (w + GAP) - GAP, rows * (h + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for i, (name, part) in enumerate(parts.items()):
        left, top = i % columns * (w + GAP), i // columns * (h + CAPTION)
        draw.text((left + 2, top + 3), name, fill="black", font=font)
        sheet.paste(part.resize(size, Image.Resampling.NEAREST), (left, top + CAPTION))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hr", type=Path, required=True, help="the original photograph")
    parser.add_argument("--box", default="80,160,160,160", help="x,y,width,height of the part to show")
    parser.add_argument("--model", default="photo-x4")
    text = "presets to show; plain is the sampler without guidance"
    parser.add_argument("--presets", nargs="+", default=["faithful", "plain", "vivid"], metavar="NAME", help=text)
    parser.add_argument("--zoom", type=whole(1), default=2, help="size of a pixel of the result (default: 2)")
    parser.add_argument("--camera", type=int, metavar="SEED", help="make the LR image as a camera does, by this seed")
    parser.add_argument("--wheels", type=Path, help="folder with the wheels of the rivals, see benchmarks/rivals")
    parser.add_argument("--rivals", nargs="+", default=["Real-ESRGAN x4plus"], help="rivals to show if they are there")
    parser.add_argument("--columns", type=whole(1), help="panels in a row (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    x, y, width, height = map(int, args.box.split(","))
    hr = np.rint(read_photo(args.hr).rgb * 255).astype(np.uint8)
    hr = hr[: hr.shape[0] // SCALE * SCALE, : hr.shape[1] // SCALE * SCALE]
    versions, w, h = panels(hr, make_lr(hr, args.camera), args), args.zoom * width, args.zoom * height
    parts = {name: image.crop((x, y, x + width, y + height)) for name, image in versions.items()}
    sheet = lay_out(parts, (w, h), args.columns or len(parts))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.output, optimize=True)


if __name__ == "__main__":
    main()
