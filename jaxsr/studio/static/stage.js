// The stage: the photograph with a result, compared by a divider or by their difference; loupe, box and brushes on top.

import { Camera, fitCanvas, gestures } from "./sources.js";

const CLICK = 5; // CSS pixels that a click may move
const MOST_ZOOM = 64;

export class Stage {
  // `events`: pointed(x, y), changed()
  constructor(element, events) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.divider = element.querySelector(".divider");
    this.camera = new Camera();
    this.events = events;
    this.size = [1, 1];
    this.scale = 4;
    this.left = this.right = null;
    this.split = 0.5;
    this.difference = false;
    this.overlays = []; // functions (context, place) that draw on top
    this.grab = null; // takes a press for the tool in use
    this.fitted = true;
    this.waiting = false;
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(element);
    gestures(element, {
      moved: (dx, dy) => this.move(dx, dy),
      zoomed: (factor, x, y) => this.zoom(factor, x, y),
      grab: (point, event) => (event.target.closest(".divider") ? this.#grabDivider() : this.#press(point)),
    });
    this.divider.addEventListener("keydown", (event) => this.#dividerKey(event));
  }

  show(size, scale) {
    this.size = size;
    this.scale = scale;
    this.fit();
  }

  get least() {
    const box = this.element.getBoundingClientRect();
    return Math.min(box.width / this.size[0], box.height / this.size[1], 1) * 0.5;
  }

  fit() {
    const box = this.element.getBoundingClientRect();
    if (!box.width) return;
    this.camera.x = this.size[0] / 2;
    this.camera.y = this.size[1] / 2;
    this.camera.zoom = Math.min(box.width / this.size[0], box.height / this.size[1]) * 0.98;
    this.fitted = true;
    this.draw();
  }

  // One pixel of the result per pixel of the screen.
  one() {
    const wanted = this.scale / Math.min(window.devicePixelRatio || 1, 3);
    this.zoom(wanted / this.camera.zoom);
  }

  zoom(factor, x, y) {
    const box = this.element.getBoundingClientRect();
    const [dx, dy] = x === undefined ? [0, 0] : [x - box.width / 2, y - box.height / 2];
    this.camera.zoomAt(factor, dx, dy, this.least, MOST_ZOOM);
    this.#keepInside();
  }

  move(dx, dy) {
    this.camera.x -= dx / this.camera.zoom;
    this.camera.y -= dy / this.camera.zoom;
    this.#keepInside();
  }

  #keepInside() {
    this.camera.x = Math.min(Math.max(this.camera.x, 0), this.size[0]);
    this.camera.y = Math.min(Math.max(this.camera.y, 0), this.size[1]);
    this.fitted = false;
    this.draw();
  }

  // Returns the point of the photograph under a point of the element.
  toPhoto([x, y]) {
    const box = this.element.getBoundingClientRect();
    return [this.camera.x + (x - box.width / 2) / this.camera.zoom, this.camera.y + (y - box.height / 2) / this.camera.zoom];
  }

  #press(start) {
    const taken = this.grab?.(this.toPhoto(start));
    if (taken) {
      return { move: (now) => taken.move?.(this.toPhoto(now)), end: (broken) => taken.end?.(broken) };
    }
    let far = 0;
    return {
      move: (now, before) => {
        far = Math.max(far, Math.hypot(now[0] - start[0], now[1] - start[1]));
        this.move(now[0] - before[0], now[1] - before[1]);
      },
      end: (broken) => {
        if (!broken && far < CLICK) this.events.pointed(...this.toPhoto(start));
      },
    };
  }

  #grabDivider() {
    this.divider.focus();
    return { move: ([x]) => this.setSplit(x / this.element.getBoundingClientRect().width) };
  }

  #dividerKey(event) {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.setSplit(this.split + step);
  }

  setSplit(value) {
    this.split = Math.min(Math.max(value, 0), 1);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  #draw() {
    const density = fitCanvas(this.canvas);
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const place = this.camera.place(this.canvas, density);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const redraw = () => this.draw();
    const both = this.left && this.right && this.left !== this.right;
    (this.right || this.left)?.draw(context, place, redraw);
    if (both && this.difference) this.#drawDifference(context, place, redraw);
    else if (both) {
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(this.split * width), height);
      context.clip();
      context.clearRect(0, 0, width, height);
      this.left.draw(context, place, redraw);
      context.restore();
    }
    for (const overlay of this.overlays) overlay(context, place, density);
    this.divider.hidden = !both || this.difference;
    this.divider.style.left = `${100 * this.split}%`;
    this.divider.setAttribute("aria-valuenow", Math.round(100 * this.split));
    this.events.changed();
  }

  // |left - right|, and three times doubled: eight times as strong.
  #drawDifference(context, place, redraw) {
    const { width, height } = this.canvas;
    this.spare ??= document.createElement("canvas");
    [this.spare.width, this.spare.height] = [width, height];
    const own = this.spare.getContext("2d");
    own.fillRect(0, 0, width, height);
    this.right.draw(own, place, redraw);
    own.globalCompositeOperation = "difference";
    this.left.draw(own, place, redraw);
    own.globalCompositeOperation = "lighter";
    for (let i = 0; i < 3; i++) own.drawImage(this.spare, 0, 0);
    context.drawImage(this.spare, 0, 0);
  }
}

// Draws a frame around a rectangle of the photograph, visible on light and dark.
export function frame(context, place, [x, y, width, height], density, dashed = false) {
  const box = [place.left + x * place.zoom, place.top + y * place.zoom, width * place.zoom, height * place.zoom].map(Math.round);
  context.save();
  for (const [colour, line] of [["rgba(0,0,0,.75)", 3], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = line * density;
    if (dashed) context.setLineDash([6 * density, 4 * density]);
    context.strokeRect(...box);
  }
  context.restore();
}
