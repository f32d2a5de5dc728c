// Pictures that can be drawn in the coordinates of the photograph: one unit is one pixel of the photograph.

const MOST_TILES = 300;
const tiles = new Map(); // address -> image; the newest last

function tile(address, loaded) {
  let image = tiles.get(address);
  if (image) {
    tiles.delete(address);
  } else {
    image = new Image();
    image.addEventListener("load", loaded);
    image.src = address;
  }
  tiles.set(address, image);
  if (tiles.size > MOST_TILES) tiles.delete(tiles.keys().next().value);
  return image.complete && image.naturalWidth ? image : null;
}

// A picture of the server, `scale` times as large as the photograph, of which only visible tiles are fetched.
export class TiledSource {
  constructor(name, view, scale) {
    this.name = name;
    this.view = view;
    this.scale = scale;
  }

  // `place` says how the photograph lies on the canvas; `redraw` is called when missing tiles have come.
  draw(context, place, redraw) {
    const { view, scale } = this;
    const perPixel = place.zoom / scale; // pixels of the canvas per pixel of the picture
    const wanted = Math.min(Math.max(Math.floor(Math.log2(1 / perPixel)), 0), view.levels - 1);
    context.imageSmoothingEnabled = !(scale > 1 && perPixel >= 2);
    context.imageSmoothingQuality = "high";
    for (let level = view.levels - 1; level >= wanted; level--) {
      if (level !== wanted && level !== view.levels - 1) continue; // the coarsest shows until the wanted one is there
      const step = view.tile * 2 ** level;
      const [left, top, right, bottom] = place.visible.map((value) => value * scale);
      const last = [Math.ceil(view.width / step) - 1, Math.ceil(view.height / step) - 1];
      for (let row = Math.max(Math.floor(top / step), 0); row <= Math.min(Math.floor(bottom / step), last[1]); row++) {
        for (let column = Math.max(Math.floor(left / step), 0); column <= Math.min(Math.floor(right / step), last[0]); column++) {
          const image = tile(`${view.tiles}/${level}/${row}/${column}`, redraw);
          if (!image) continue;
          const width = Math.min(step, view.width - column * step);
          const height = Math.min(step, view.height - row * step);
          drawAt(context, image, place, [column * step, row * step, width, height].map((value) => value / scale));
        }
      }
    }
  }
}

// A part of the picture that the page already has, such as what the loupe shows.
export class BitmapSource {
  constructor(name, bitmap, rectangle) {
    this.name = name;
    this.bitmap = bitmap;
    this.rectangle = rectangle;
  }

  draw(context, place) {
    context.imageSmoothingEnabled = (place.zoom * this.rectangle[2]) / this.bitmap.width < 2;
    context.imageSmoothingQuality = "high";
    drawAt(context, this.bitmap, place, this.rectangle);
  }
}

// Whole pixels of the canvas, so that neighbouring tiles leave no seam.
function drawAt(context, image, place, [x, y, width, height]) {
  const left = Math.round(place.left + x * place.zoom);
  const top = Math.round(place.top + y * place.zoom);
  const right = Math.round(place.left + (x + width) * place.zoom);
  const bottom = Math.round(place.top + (y + height) * place.zoom);
  context.drawImage(image, left, top, right - left, bottom - top);
}

// What part of the photograph a canvas shows: the point in its middle, and CSS pixels per pixel of the photograph.
export class Camera {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.zoom = 1;
  }

  place(canvas, density) {
    const zoom = this.zoom * density;
    const left = canvas.width / 2 - this.x * zoom;
    const top = canvas.height / 2 - this.y * zoom;
    return { zoom, left, top, visible: [-left / zoom, -top / zoom, (canvas.width - left) / zoom, (canvas.height - top) / zoom] };
  }

  // Zooms by a factor, and keeps the point of the photograph under (dx, dy), in CSS pixels from the middle.
  zoomAt(factor, dx, dy, least, most) {
    const next = Math.min(Math.max(this.zoom * factor, least), most);
    this.x += dx / this.zoom - dx / next;
    this.y += dy / this.zoom - dy / next;
    this.zoom = next;
  }
}

// Makes a canvas as fine as the screen, and returns its density.
export function fitCanvas(canvas) {
  const density = Math.min(window.devicePixelRatio || 1, 3);
  const box = canvas.getBoundingClientRect();
  const size = [Math.max(Math.round(box.width * density), 1), Math.max(Math.round(box.height * density), 1)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  return density;
}

// Wheel, drag and pinch on an element. `moved(dx, dy)` and `zoomed(factor, x, y)` get CSS pixels of the element;
// `grab` may take a press for itself by returning handlers {move, end}.
export function gestures(element, { moved, zoomed, grab }) {
  const fingers = new Map();
  let held = null;
  const at = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoomed(Math.exp(-Math.max(Math.min(event.deltaY * lines, 240), -240) / 400), ...at(event));
  }, { passive: false });
  element.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    if (fingers.size > 1 && held) {
      held.end?.(true);
      held = null;
    } else if (fingers.size === 1) {
      held = event.button === 0 && !event.altKey ? grab?.(at(event), event) : null;
    }
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    if (held) {
      held.move?.(now, before);
    } else if (fingers.size === 1) {
      moved(now[0] - before[0], now[1] - before[1]);
    } else {
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
      const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      zoomed(length(now) / length(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    fingers.set(event.pointerId, now);
  });
  const lift = (event) => {
    if (!fingers.delete(event.pointerId) || !held) return;
    held.end?.(event.type === "pointercancel");
    held = null;
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
}
