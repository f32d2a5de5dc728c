"""Draw the picture at the top of the README: LR, bicubic, the model, its preset `vivid` and the original, side by side.

python -m benchmarks.picture --hr kodak24/23.webp --box 80,160,160,160 -o docs/images/comparison.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxsr
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.resize import downsample_bicubic_uint8

SCALE, ZOOM, GAP, CAPTION = 4, 2, 8, 26


def panels(hr: np.ndarray, model: str, seed: int) -> dict[str, Image.Image]:
    """Make the versions of a photograph, all at the size of `hr` (h, w, 3), uint8."""
    lr = downsample_bicubic_uint8(hr, SCALE)
    hr = hr[: SCALE * lr.shape[0], : SCALE * lr.shape[1]]
    upscaler = jaxsr.load(model)
    size, small = (hr.shape[1], hr.shape[0]), Image.fromarray(lr)
    return {
        "LR": small.resize(size, Image.Resampling.NEAREST),
        "bicubic": small.resize(size, Image.Resampling.BICUBIC),
        f"jaxsr {model}": Image.fromarray(upscaler.upscale(lr, seed=seed)),
        f"jaxsr {model}, vivid": Image.fromarray(upscaler.upscale(lr, seed=seed, preset="vivid")),
        "original": Image.fromarray(hr),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hr", type=Path, required=True, help="the original photograph")
    parser.add_argument("--box", default="80,160,160,160", help="x,y,width,height of the part to show")
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    x, y, width, height = map(int, args.box.split(","))
    hr = np.rint(read_photo(args.hr).rgb * 255).astype(np.uint8)
    versions, w, h = panels(hr, args.model, args.seed), ZOOM * width, ZOOM * height
    sheet = Image.new("RGB", (len(versions) * (w + GAP) - GAP, h + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for i, (name, image) in enumerate(versions.items()):
        part = image.crop((x, y, x + width, y + height)).resize((w, h), Image.Resampling.NEAREST)
        sheet.paste(part, (i * (w + GAP), CAPTION))
        draw.text((i * (w + GAP) + 2, 3), name, fill="black", font=font)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.output, optimize=True)


if __name__ == "__main__":
    main()
