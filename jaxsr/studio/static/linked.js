// Several pictures of the same place side by side, which zoom and move together.

import { Camera, fitCanvas, gestures } from "./sources.js";

export class Linked {
  constructor() {
    this.box = document.getElementById("linked");
    this.row = document.getElementById("linked-row");
    this.title = document.getElementById("linked-title");
    this.camera = new Camera();
    this.panels = [];
    new ResizeObserver(() => this.draw()).observe(this.row);
  }

  // Shows panels {source, title, action, chosen}: a panel with an action has a button. `rectangle` is what they show.
  show(title, rectangle, panels) {
    this.title.textContent = title;
    this.rectangle = rectangle;
    this.row.replaceChildren();
    this.panels = panels.map((panel) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", panel.title);
      const caption = document.createElement("figcaption");
      if (panel.action) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = panel.title;
        button.setAttribute("aria-pressed", Boolean(panel.chosen));
        button.addEventListener("click", () => {
          for (const other of this.row.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
          panel.action();
        });
        caption.append(button);
      } else {
        caption.textContent = panel.title;
      }
      figure.append(canvas, caption);
      this.row.append(figure);
      gestures(canvas, {
        moved: (dx, dy) => {
          this.camera.x -= dx / this.camera.zoom;
          this.camera.y -= dy / this.camera.zoom;
          this.draw();
        },
        zoomed: (factor, x, y) => {
          const half = canvas.getBoundingClientRect();
          this.camera.zoomAt(factor, x - half.width / 2, y - half.height / 2, 0.05, 128);
          this.draw();
        },
      });
      return { canvas, source: panel.source };
    });
    this.box.hidden = false;
    const [x, y, width, height] = rectangle;
    this.camera.x = x + width / 2;
    this.camera.y = y + height / 2;
    const side = this.panels[0].canvas.getBoundingClientRect().width || 160;
    this.camera.zoom = side / Math.max(width, height);
    this.draw();
  }

  hide() {
    this.box.hidden = true;
    this.panels = [];
  }

  draw() {
    if (this.box.hidden) return;
    for (const { canvas, source } of this.panels) {
      const density = fitCanvas(canvas);
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      source.draw(context, this.camera.place(canvas, density), () => requestAnimationFrame(() => this.draw()));
    }
  }
}
