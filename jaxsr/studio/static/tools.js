// The tools of the stage besides the loupe: a brush that paints a map, and the box of a reference.

import { frame } from "./stage.js";

const TINT = "#ff9a3c";

// Paints a map of the photograph's size. `changed()` is called after every stroke.
export class Brush {
  constructor(size, changed) {
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = size;
    this.context = this.canvas.getContext("2d");
    this.changed = changed;
    this.used = false;
    this.cursor = [Math.round(size[0] / 2), Math.round(size[1] / 2)];
  }

  get width() {
    return Number(document.getElementById("brush-size").value);
  }

  #line(from, to) {
    const { context } = this;
    context.globalCompositeOperation = document.getElementById("brush-erase").checked ? "destination-out" : "source-over";
    context.strokeStyle = TINT;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.width;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    this.used = true;
  }

  grab(point) {
    let before = point;
    this.cursor = point;
    this.#line(point, point);
    return {
      move: (now) => {
        this.#line(before, now);
        this.cursor = before = now;
      },
      end: () => this.changed(),
    };
  }

  // Moves the cursor, or paints at it with the space bar. Returns whether the key was one of the brush's.
  key(event) {
    const step = Math.max(this.width / 4, 1);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      const clamp = (value, most) => Math.min(Math.max(value, 0), most);
      const next = [clamp(this.cursor[0] + way[0] * step, this.canvas.width), clamp(this.cursor[1] + way[1] * step, this.canvas.height)];
      this.cursor = next;
      return true;
    }
    if (event.key !== " " && event.key !== "Enter") return false;
    this.#line(this.cursor, this.cursor);
    this.changed();
    return true;
  }

  fill() {
    this.context.globalCompositeOperation = "source-over";
    this.context.fillStyle = TINT;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.used = true;
    this.changed();
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.used = false;
    this.changed();
  }

  // The map as PNG: white where it is painted, black elsewhere.
  blob() {
    const flat = document.createElement("canvas");
    [flat.width, flat.height] = [this.canvas.width, this.canvas.height];
    const context = flat.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    for (const [way, colour] of [["source-in", "#fff"], ["destination-over", "#000"]]) {
      context.globalCompositeOperation = way;
      context.fillStyle = colour;
      context.fillRect(0, 0, flat.width, flat.height);
    }
    return new Promise((resolve) => flat.toBlob(resolve, "image/png"));
  }

  draw(context, place, density, active) {
    context.save();
    context.globalAlpha = active ? 0.45 : 0.2;
    const { width, height } = this.canvas;
    if (this.used) context.drawImage(this.canvas, place.left, place.top, width * place.zoom, height * place.zoom);
    context.restore();
    if (!active) return;
    const [x, y] = [place.left + this.cursor[0] * place.zoom, place.top + this.cursor[1] * place.zoom];
    for (const [colour, line] of [["rgba(0,0,0,.75)", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * density;
      context.beginPath();
      context.arc(x, y, (this.width / 2) * place.zoom, 0, 7);
      context.stroke();
    }
  }
}

// The place of a reference, in whole pixels of the photograph. With a reference, its size is fixed.
export class Box {
  constructor(size, changed) {
    this.size = size;
    this.changed = changed;
    this.place = null;
    this.fixed = false;
  }

  set(x, y, width, height) {
    const [w, h] = [clamp(width, 1, this.size[0]), clamp(height, 1, this.size[1])];
    this.place = [clamp(x, 0, this.size[0] - w), clamp(y, 0, this.size[1] - h), w, h];
    this.changed();
  }

  // Takes the size of a reference, around the middle of the present box.
  fix(width, height) {
    const [x, y, w, h] = this.place || [0, 0, ...this.size];
    this.fixed = true;
    const same = w === width && h === height;
    this.set(same ? x : x + (w - width) / 2, same ? y : y + (h - height) / 2, width, height);
  }

  free() {
    this.fixed = false;
    this.place = null;
    this.changed();
  }

  grab(start) {
    const inside = this.place && start[0] >= this.place[0] && start[0] < this.place[0] + this.place[2]
      && start[1] >= this.place[1] && start[1] < this.place[1] + this.place[3];
    if (this.fixed && !inside) this.set(start[0] - this.place[2] / 2, start[1] - this.place[3] / 2, this.place[2], this.place[3]);
    const before = this.place && [...this.place];
    if (inside || this.fixed) {
      return { move: (now) => this.set(before[0] + now[0] - start[0], before[1] + now[1] - start[1], before[2], before[3]) };
    }
    return {
      move: (now) => this.set(Math.min(start[0], now[0]), Math.min(start[1], now[1]), Math.abs(now[0] - start[0]), Math.abs(now[1] - start[1])),
    };
  }

  // Arrow keys move the box; with Shift they change its size.
  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return false;
    const [x, y, w, h] = this.place || [this.size[0] * 0.4, this.size[1] * 0.4, this.size[0] * 0.2, this.size[1] * 0.2];
    if (event.shiftKey && !this.fixed) this.set(x, y, w + way[0], h + way[1]);
    else this.set(x + way[0], y + way[1], w, h);
    return true;
  }

  draw(context, place, density) {
    if (this.place) frame(context, place, this.place, density);
  }
}

const clamp = (value, least, most) => Math.max(Math.min(Math.round(value), most), least);
