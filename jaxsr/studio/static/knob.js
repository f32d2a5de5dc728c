// The knob: a slider along the calibrated profile, with a tick for every calibrated preset.

const TITLES = { faithful: "Faithful", balanced: "Balanced", vivid: "Vivid" };

const words = (names) => names.map((name) => TITLES[name] || name).join(", ");

export class Knob {
  // `turned()` is called when the setting changes.
  constructor(turned) {
    this.turned = turned;
    this.box = document.getElementById("knob");
    this.range = document.getElementById("knob-range");
    this.ticks = document.getElementById("ticks");
    this.plain = document.getElementById("plain");
    this.table = null;
    this.position = null; // null: the knob is off
    this.last = null;
    this.range.addEventListener("input", () => this.set(Number(this.range.value)));
    this.plain.addEventListener("click", () => this.set(this.position === null ? this.last ?? this.middle : null));
  }

  get middle() {
    return this.table?.ticks.length ? 50 : 0;
  }

  // The knob of another model, or for other steps: it keeps its position where that exists.
  show(table) {
    const first = this.table === null;
    this.table = table;
    this.range.min = table.low;
    this.range.max = table.high;
    this.range.step = table.step;
    const percent = (position) => (100 * (position - table.low)) / (table.high - table.low);
    const [from, to] = table.calibrated || [table.low, table.low];
    const inset = (position) => `calc(var(--thumb) / 2 + ${percent(position)}% - ${percent(position) / 100} * var(--thumb))`;
    this.box.style.setProperty("--from", inset(from));
    this.box.style.setProperty("--to", inset(to));
    this.ticks.replaceChildren(
      ...table.ticks.map((tick) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = words(tick.names);
        button.title = tick.warning ? `${button.textContent} ${tick.warning}` : button.textContent;
        button.style.left = `${percent(tick.position)}%`;
        button.dataset.position = tick.position;
        button.addEventListener("click", () => this.set(tick.position));
        return button;
      }),
    );
    this.ticks.hidden = table.ticks.length === 0;
    if (first && table.ticks.length) this.position = 50;
    if (this.position !== null) this.position = Math.min(Math.max(this.position, table.low), table.high);
    this.#tell();
  }

  set(position) {
    if (position !== null) this.last = position;
    this.position = position;
    this.#tell();
    this.turned();
  }

  // The setting as the server understands it: a preset where there is one, so that the record names it.
  setting(position = this.position) {
    if (position === null) return {};
    const tick = this.table.ticks.find((one) => one.position === position);
    return tick ? { preset: tick.names[tick.names.length - 1] } : { position };
  }

  // Five positions over the calibrated range, or over the whole knob.
  five() {
    const [low, high] = this.table.ticks.length ? [0, 100] : [this.table.low, this.table.high];
    return [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
  }

  name(position = this.position) {
    if (position === null) return "Knob off: the model alone";
    const { ticks } = this.table;
    const here = ticks.find((tick) => tick.position === position);
    if (here) return words(here.names);
    const below = ticks.filter((tick) => tick.position < position).pop();
    const above = ticks.find((tick) => tick.position > position);
    if (below && above) return `Between ${words(below.names)} and ${words(above.names)}`;
    if (above) return `Beyond ${words(above.names)}`;
    if (below) return `Beyond ${words(below.names)}`;
    return `alpha ${this.#notch(position).alpha.join(", ")}`;
  }

  short(position) {
    const here = this.table.ticks.find((tick) => tick.position === position);
    return here ? words(here.names) : this.table.ticks.length ? `${position}` : `alpha ${this.#notch(position).alpha[0]}`;
  }

  #notch(position) {
    const near = (a, b) => (Math.abs(b.position - position) < Math.abs(a.position - position) ? b : a);
    return this.table.notches.reduce(near);
  }

  #tell() {
    const off = this.position === null;
    this.box.classList.toggle("off", off);
    this.plain.setAttribute("aria-pressed", off);
    this.range.value = off ? this.middle : this.position;
    this.range.setAttribute("aria-valuetext", this.name());
    for (const button of this.ticks.children) button.setAttribute("aria-pressed", Number(button.dataset.position) === this.position);
    document.getElementById("knob-words").textContent = this.name();
    const notch = off ? null : this.#notch(this.position);
    const tick = this.table.ticks.find((one) => one.position === this.position);
    const warning = document.getElementById("knob-warning");
    const text = notch?.note
      ? `Beyond what was calibrated: ${notch.note}. Look closely before you keep it.`
      : tick?.warning
        ? `${words(tick.names)} ${tick.warning}.`
        : !off && this.table.reason
          ? `${this.table.reason} Look closely before you keep it.`
          : "";
    warning.textContent = text;
    warning.hidden = !text;
    document.getElementById("knob-numbers").textContent = notch ? numbers(notch, this.table.steps) : "";
  }
}

function numbers(notch, steps) {
  const parts = [`alpha ${notch.alpha.join(" ")}`];
  if (notch.temperature.length) parts.push(`noise ${notch.temperature.join(" ")}`);
  if (notch.projection) parts.push(`projection ${notch.projection}`);
  const order = notch.alpha.length > 1 && steps > 1 ? " (last step first)" : "";
  return parts.join(" · ") + order;
}
