// The page: it holds what the user has chosen, and asks the server for looks and pictures.

import * as api from "./api.js";
import { Knob } from "./knob.js";
import { Linked } from "./linked.js";
import { markdown } from "./markdown.js";
import { bytes, element, entry, time } from "./results.js";
import { BitmapSource, TiledSource, fitCanvas } from "./sources.js";
import { Stage, frame } from "./stage.js";
import { Box, Brush } from "./tools.js";

const $ = (id) => document.getElementById(id);
const STEPS = [1, 2, 4, 8, 15];
const SAMPLES = [1, 2, 3, 4, 6, 8];
const HELP = {
  loupe: "Click, or arrow keys: move the loupe. Wheel, or + and −: zoom. Drag, or Shift and arrow keys: move the picture.",
  box: "Draw the rectangle where the sharper picture lies, or move it with the arrow keys; Shift changes its size.",
  map: "Paint with the mouse, or move with the arrow keys and paint with the space bar. Alt and drag moves the picture.",
  mask: "Paint what is to be filled in. Arrow keys move, the space bar paints. Alt and drag moves the picture.",
};

let info = null;
let photo = null; // what the server says about it
let source = null; // the photograph to draw
let table = null; // the knob and the model
let tool = "loupe";
let point = [0, 0]; // what the loupe shows
let seen = null; // the last look: {source, facts}
let maps = {}; // name -> {brush, id, url, name}
let box = null;
let reference = null;
let job = null;
let sources = []; // what can be compared
let prepared = false;

const knob = new Knob(() => look());
const linked = new Linked();
const stage = new Stage($("stage"), {
  pointed: (x, y) => moveLoupe(x, y),
  changed: () => ($("zoom").textContent = `${Math.round((stage.camera.zoom / stage.scale) * 100)} %`),
});

function fail(error) {
  if (error.name === "AbortError") return;
  $("error").textContent = error.message;
  $("error").hidden = false;
}

const clearError = () => ($("error").hidden = true);

// Runs the newest call after the one that is going on; calls between them are dropped.
function newest(run) {
  let busy = false;
  let again = false;
  return async () => {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      try {
        await run();
        clearError();
      } catch (error) {
        fail(error);
      }
    }
    busy = false;
  };
}

// ---- the photograph

async function open(file, name) {
  if (file.size > info.limits.bytes) {
    fail(new Error(`${name} has ${bytes(file.size)}; this server takes up to ${bytes(info.limits.bytes)}.`));
    return;
  }
  if (sources.length > 1 && !confirm("Open another photograph? The results on this page will leave it.")) return;
  clearError();
  document.body.setAttribute("aria-busy", "true");
  try {
    photo = await api.addPhoto(file, name);
  } catch (error) {
    fail(error);
    return;
  } finally {
    document.body.removeAttribute("aria-busy");
  }
  const size = [photo.view.width, photo.view.height];
  $("start").hidden = true;
  $("work").hidden = false;
  $("photo-name").hidden = false;
  $("photo-name").textContent = `${photo.name}, ${size[0]} × ${size[1]} pixels`;
  document.title = `${photo.name} · jaxsr studio`;
  source = new TiledSource("Photo", photo.view, 1);
  sources = [source];
  maps = { map: {}, mask: {} };
  box = new Box(size, tellBox);
  reference = null;
  tellReference();
  seen = null;
  linked.hide();
  $("results").replaceChildren();
  $("results-card").hidden = true;
  $("brush-size").max = Math.max(Math.round(Math.max(...size) / 3), 20);
  $("brush-size").value = Math.max(Math.round(Math.max(...size) / 12), 4);
  stage.show(size, table?.scale || 4);
  listSources();
  useTool("loupe");
  tellMaps();
  point = [size[0] / 2, size[1] / 2];
  await turnModel();
  $("stage").focus({ preventScroll: true });
}

function listSources(left = 0, right = sources.length - 1) {
  for (const [select, chosen] of [[$("left"), left], [$("right"), right]]) {
    select.replaceChildren(...sources.map((one, i) => element("option", { value: i, textContent: one.name })));
    select.value = chosen;
  }
  compare();
}

function compare() {
  stage.left = sources[$("left").value];
  stage.right = sources[$("right").value];
  const both = stage.left !== stage.right;
  $("left-tag").textContent = both && !stage.difference ? stage.left.name : "";
  $("right-tag").textContent = stage.difference && both ? "Difference, 8 times" : stage.right.name;
  $("difference").disabled = !both;
  $("compare").hidden = sources.length < 2;
  stage.draw();
}

// ---- model and knob

const turnModel = newest(async () => {
  const steps = $("steps").value;
  const model = $("model").value;
  const same = table?.model === model;
  note(same ? "" : "Loading the model…");
  const found = await api.knob(model, same ? steps : null, same ? $("sampler").value : null);
  table = found;
  stage.scale = found.scale;
  const counts = [...new Set([...STEPS, found.steps])].filter((count) => count <= found.most_steps).sort((a, b) => a - b);
  $("steps").replaceChildren(...counts.map((count) => element("option", { value: count, textContent: `${count}${words(count)}` })));
  $("steps").value = found.steps;
  if (!same) $("sampler").value = found.sampler;
  document.querySelector("[data-tool=mask]").hidden = !found.mask;
  if (!found.mask && tool === "mask") useTool("loupe");
  knob.show(found);
  prepared = same && prepared;
  $("size-words").textContent =
    found.scale === 1
      ? "The result keeps the size of the photograph."
      : `${found.scale} times as large: ${found.scale * photo.view.width} × ${found.scale * photo.view.height} pixels.`;
  note("");
  look();
});

const words = (count) => ({ 1: ", fastest", 4: ", usual" })[count] || (count >= 8 ? ", slower" : "");

const note = (text) => ($("stage-note").textContent = text);

const sampling = () => ({ steps: Number($("steps").value), sampler: $("sampler").value });

const seed = () => Math.min(Math.max(Math.round(Number($("seed").value)) || 0, 0), 4294967295);

function guides(turned) {
  const found = {};
  if (maps.map?.id && turned) found.alpha_map = maps.map.id;
  if (maps.mask?.id && table.mask) found.mask = maps.mask.id;
  return found;
}

// ---- the loupe

function moveLoupe(x, y) {
  point = [Math.min(Math.max(x, 0), photo.view.width - 1), Math.min(Math.max(y, 0), photo.view.height - 1)];
  look();
}

const look = newest(async () => {
  if (!photo || !table) return;
  if (table.mask && !maps.mask.id) {
    note("Paint what is to be filled in: choose the tool Mask.");
    return;
  }
  const began = performance.now();
  const on = photo;
  const setting = knob.setting();
  if (!prepared) note("Preparing the loupe. The first look takes the longest…");
  stage.draw();
  $("loupe-time").textContent = "looking…";
  const asked = { photo: photo.id, model: table.model, options: sampling(), seed: seed(), at: point, knobs: [setting] };
  let found;
  try {
    found = await api.look({ ...asked, ...guides(knob.position !== null) });
  } catch (error) {
    $("loupe-time").textContent = "";
    note("");
    throw error;
  }
  if (on !== photo) return;
  prepared = true;
  note("");
  seen = { source: new BitmapSource("Loupe", found.bitmaps[0], found.facts.window), facts: found.facts };
  $("loupe-time").textContent = time((performance.now() - began) / 1000);
  drawLoupe();
  stage.draw();
});

function drawLoupe() {
  if (!seen) return;
  const [x, y, width, height] = seen.facts.window;
  for (const [canvas, shown] of [[$("loupe-photo"), source], [$("loupe-result"), seen.source]]) {
    fitCanvas(canvas);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const zoom = canvas.width / Math.max(width, height);
    const place = { zoom, left: -x * zoom, top: -y * zoom, visible: [x, y, x + width, y + height] };
    context.save();
    context.beginPath();
    context.rect(0, 0, width * zoom, height * zoom);
    context.clip();
    shown.draw(context, place, drawLoupe);
    context.restore();
  }
}

async function lookAtFive() {
  if (!photo || !table) return;
  $("five").disabled = true;
  const positions = knob.five();
  note("Looking at five settings. The first time takes the longest…");
  const asked = { photo: photo.id, model: table.model, options: sampling(), seed: seed(), at: point };
  asked.knobs = positions.map((position) => knob.setting(position));
  try {
    const found = await api.look({ ...asked, ...guides(true) });
    const panels = positions.map((position, i) => ({
      title: knob.short(position),
      source: new BitmapSource("", found.bitmaps[i], found.facts.window),
      chosen: position === knob.position,
      action: () => knob.set(position),
    }));
    linked.show("Five settings of the knob", found.facts.window, panels);
    linked.box.scrollIntoView({ block: "nearest" });
    clearError();
  } catch (error) {
    fail(error);
  }
  note("");
  $("five").disabled = false;
}

// ---- brushes and reference

// The brush of a map, which takes as much memory as the photograph, is made when it is first used.
function brush(name) {
  maps[name].brush ??= new Brush([photo.view.width, photo.view.height], () => keepMap(name));
  return maps[name].brush;
}

async function keepMap(name) {
  const map = maps[name];
  stage.draw();
  if (!map.brush.used) {
    map.id = null;
    map.blob = null;
  } else {
    try {
      map.blob = await map.brush.blob();
      map.name = `${photo.name.replace(/\.[^.]*$/, "")}-${name === "map" ? "alpha-map" : "mask"}.png`;
      map.id = (await api.addFile(map.blob, map.name)).id;
    } catch (error) {
      fail(error);
      return;
    }
  }
  tellMaps();
  look();
}

function tellMaps() {
  const map = maps[tool === "mask" ? "mask" : "map"];
  const save = $("map-save");
  if (save.href.startsWith("blob:")) URL.revokeObjectURL(save.href);
  save.removeAttribute("href");
  save.hidden = !map?.blob;
  if (map?.blob) {
    save.href = URL.createObjectURL(map.blob);
    save.download = map.name;
  }
}

function tellBox() {
  const place = box.place;
  for (const [i, name] of ["x", "y", "w", "h"].entries()) {
    const field = $(`box-${name}`);
    if (document.activeElement !== field) field.value = place ? place[i] : "";
    field.disabled = i > 1 && box.fixed;
  }
  const scale = table?.scale || 4;
  $("box-note").textContent =
    place && !reference ? `The sharper picture must have ${scale * place[2]} × ${scale * place[3]} pixels.` : "";
  stage.draw();
}

async function openReference(file) {
  try {
    reference = await api.addFile(file, file.name);
    const [width, height] = [reference.width / table.scale, reference.height / table.scale];
    if (width > box.size[0] || height > box.size[1] || width % 1 || height % 1) {
      const size = `${reference.width} × ${reference.height}`;
      reference = null;
      throw new Error(
        `${file.name} has ${size} pixels; a reference needs ${table.scale} times the size of a rectangle in the photo.`);
    }
    box.fix(width, height);
    clearError();
  } catch (error) {
    fail(error);
  }
  tellReference();
}

function tellReference() {
  $("reference-name").textContent = reference ? `${reference.name}, ${reference.width} × ${reference.height}` : "or drop it onto the stage";
  $("reference-remove").hidden = !reference;
  tellBox();
}

function useTool(name) {
  tool = name;
  if (name === "map" || name === "mask") brush(name);
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === name);
  $("map-panel").hidden = name !== "map" && name !== "mask";
  $("map-panel").firstElementChild.textContent =
    name === "mask" ? "Paint what is to be filled in." : "Paint where the knob acts. Elsewhere the model works without it.";
  $("box-panel").hidden = name !== "box";
  $("stage-help").textContent = HELP[name];
  stage.grab = { box: (at) => box.grab(at), map: (at) => painted(brush("map").grab(at)), mask: (at) => painted(brush("mask").grab(at)) }[name] || null;
  tellMaps();
  stage.draw();
}

const painted = ({ move, end }) => ({ move: (now) => (move(now), stage.draw()), end });

stage.overlays.push((context, place, density) => {
  if (!photo || stage.difference) return;
  if (seen && tool === "loupe") {
    if (sources.length < 2) seen.source.draw(context, place); // it would hide a part of the comparison
    frame(context, place, seen.facts.window, density);
    const [x, y, width, height] = seen.facts.window;
    const inside = point[0] >= x && point[0] < x + width && point[1] >= y && point[1] < y + height;
    const side = table.window;
    if (!inside) frame(context, place, [point[0] - side / 2, point[1] - side / 2, side, side], density, true);
  }
  for (const name of ["map", "mask"]) maps[name].brush?.draw(context, place, density, tool === name);
  if (tool === "box" || reference) box.draw(context, place, density);
});

// ---- whole pictures

async function make() {
  const asked = { photo: photo.id, model: table.model, options: sampling(), seed: seed(), knob: knob.setting() };
  Object.assign(asked, { samples: Number($("samples").value), metadata: $("metadata").value, ...guides(knob.position !== null) });
  asked.quality = Math.min(Math.max(Math.round(Number($("quality").value)) || 95, 1), 100);
  if ($("format").value) asked.format = $("format").value;
  if (reference) Object.assign(asked, { reference: reference.id, reference_box: box.place });
  const needs = [asked.alpha_map && maps.map.name, asked.mask && maps.mask.name, reference?.name].filter(Boolean);
  const title = `${knob.name()}${reference && knob.position === null ? ", fitted to the sharper picture" : ""}`;
  const on = photo;
  $("make").disabled = true;
  try {
    job = await api.addJob(asked);
    clearError();
    $("progress").hidden = false;
    const end = await api.watch(job.id, tellProgress);
    if (end.state === "failed") throw new Error(end.error);
    if (end.state === "done" && on === photo) keepResults(end, { title, needs, steps: asked.options.steps, seed: asked.seed });
  } catch (error) {
    fail(error);
  }
  job = null;
  $("progress").hidden = true;
  $("make").disabled = false;
}

function tellProgress(state) {
  const [done, total] = state.tiles;
  const bar = $("bar");
  if (total) {
    bar.max = total;
    bar.value = done;
  } else {
    bar.removeAttribute("value");
  }
  const parts = [];
  if (state.state === "waiting") parts.push(state.before ? `${state.before} before it` : "waiting");
  else if (!total) parts.push("reading the photo");
  else if (done === total) parts.push("writing the file");
  else if (!done && state.eta === null) parts.push("preparing the model");
  else parts.push(`${done} of ${total} tiles`);
  if (state.eta !== null) parts.push(`about ${time(Math.max(state.eta, 1))} left`);
  $("progress-words").textContent = parts.join(", ");
}

function keepResults(end, made) {
  const several = end.results.length > 1;
  const first = sources.length;
  const number = new Set([...$("results").children].map((item) => item.dataset.job)).size + 1;
  const licence = info.models.find((model) => model.name === table.model)?.licence?.name || "see the model card";
  const items = end.results.map((result, i) => {
    const name = `${number}${several ? `.${i + 1}` : ""} ${made.title}`;
    const place = sources.length;
    sources.push(new TiledSource(name, result.view, table.scale));
    const show = () => {
      stage.difference = false;
      $("difference").setAttribute("aria-pressed", false);
      listSources(0, place);
      $("stage").scrollIntoView({ block: "nearest" });
    };
    const title = `${name} · ${made.steps} steps · seed ${made.seed}`;
    const item = entry(result, { title, licence, needs: made.needs, show });
    item.dataset.job = end.id;
    return item;
  });
  if (end.disagreement) {
    const spread = end.disagreement;
    sources.push(new TiledSource(`${number} disagreement`, spread.view, table.scale));
    const save = element("a", { className: "button", href: spread.picture, download: "disagreement.png", textContent: "Save the map" });
    const words = `The samples differ by ${spread.mean.toFixed(1)} grey levels on average (standard deviation). Bright in the map: the model invents there.`;
    const item = element("li", {}, element("h3", { textContent: `${number} Disagreement` }), element("p", { className: "small", textContent: words }), element("div", { className: "row" }, save));
    item.dataset.job = end.id;
    items.push(item);
  }
  $("results").prepend(...items);
  $("results-card").hidden = false;
  for (const warning of end.warnings) note(warning);
  useTool("loupe");
  seen = null;
  listSources(0, first);
  if (several) {
    const panels = sources.slice(first).map((one) => ({ title: one.name, source: one }));
    const [width, height] = [photo.view.width, photo.view.height];
    const side = Math.min(96, Math.max(width, height));
    linked.show("Samples of one photograph", [point[0] - side / 2, point[1] - side / 2, side, side], panels);
  }
}

// ---- wiring

function stageKey(event) {
  if (event.ctrlKey || event.metaKey || event.target !== $("stage") || !photo) return;
  const pan = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  const unit = table?.unit || 16;
  const keys = {
    "+": () => stage.zoom(1.25), "=": () => stage.zoom(1.25), "-": () => stage.zoom(0.8), 0: () => stage.fit(), 1: () => stage.one(),
    l: () => useTool("loupe"), b: () => useTool("box"), m: () => useTool("map"), k: () => table?.mask && useTool("mask"),
    d: () => $("difference").click(),
  };
  let taken = true;
  if (pan && event.shiftKey && tool !== "box") stage.move(...pan);
  else if (pan && tool === "loupe") moveLoupe(point[0] - (Math.sign(pan[0]) * unit), point[1] - (Math.sign(pan[1]) * unit));
  else if (tool === "box" && box.key(event)) stage.draw();
  else if ((tool === "map" || tool === "mask") && brush(tool).key(event)) stage.draw();
  else if (keys[event.key.toLowerCase()]) keys[event.key.toLowerCase()]();
  else taken = false;
  if (taken) event.preventDefault();
}

async function showCard() {
  const model = info.models.find((one) => one.name === $("model").value);
  const facts = $("card-facts");
  facts.replaceChildren();
  const add = (term, ...text) => facts.append(element("dt", { textContent: term }), element("dd", {}, ...text));
  $("card-title").textContent = model.name;
  add("What for", model.description);
  if (model.licence) {
    add("Licence", element("a", { href: model.licence.url, textContent: model.licence.name, rel: "noreferrer", target: "_blank" }));
    add("", model.licence.notice);
  }
  $("card-text").replaceChildren("…");
  $("card").showModal();
  try {
    $("card-text").replaceChildren(...markdown(await api.card(model.name)));
  } catch (error) {
    $("card-text").replaceChildren(error.message);
  }
}

function wire() {
  const pick = (input, use) => $(input).addEventListener("change", () => {
    const [file] = $(input).files;
    $(input).value = "";
    if (file) use(file);
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("another").addEventListener("click", () => $("file").click());
  pick("file", (file) => open(file, file.name));
  $("sample").addEventListener("click", async () => open(await (await fetch("/static/sample.png")).blob(), "parrots.png"));
  $("reference-choose").addEventListener("click", () => $("reference-file").click());
  pick("reference-file", openReference);
  $("reference-remove").addEventListener("click", () => {
    reference = null;
    box.free();
    tellReference();
  });
  let inside = 0;
  addEventListener("dragenter", () => document.body.classList.toggle("dropping", ++inside > 0));
  addEventListener("dragleave", () => document.body.classList.toggle("dropping", --inside > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file && photo && tool === "box") openReference(file);
    else if (file) open(file, file.name);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files || [];
    if (file) open(file, file.name || "pasted.png");
  });
  for (const id of ["model", "steps", "sampler"]) $(id).addEventListener("change", () => (photo ? turnModel() : null));
  $("seed").addEventListener("change", look);
  $("new-seed").addEventListener("click", () => {
    $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % 1000000;
    look();
  });
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => useTool(button.dataset.tool));
  for (const id of ["left", "right"]) $(id).addEventListener("change", compare);
  $("difference").addEventListener("click", () => {
    stage.difference = !stage.difference;
    $("difference").setAttribute("aria-pressed", stage.difference);
    compare();
  });
  $("zoom-in").addEventListener("click", () => stage.zoom(1.25));
  $("zoom-out").addEventListener("click", () => stage.zoom(0.8));
  $("zoom-fit").addEventListener("click", () => stage.fit());
  $("zoom-one").addEventListener("click", () => stage.one());
  $("stage").addEventListener("keydown", stageKey);
  $("brush-fill").addEventListener("click", () => brush(tool).fill());
  $("brush-clear").addEventListener("click", () => brush(tool).clear());
  $("brush-size").addEventListener("input", () => stage.draw());
  for (const name of ["x", "y", "w", "h"]) {
    $(`box-${name}`).addEventListener("change", () => {
      const [x, y, w, h] = ["x", "y", "w", "h"].map((one) => Number($(`box-${one}`).value) || 0);
      box.set(x, y, box.fixed ? box.place[2] : w || 16, box.fixed ? box.place[3] : h || 16);
    });
  }
  $("five").addEventListener("click", lookAtFive);
  $("make").addEventListener("click", make);
  $("cancel").addEventListener("click", () => job && api.cancelJob(job.id).catch(fail));
  $("show-card").addEventListener("click", showCard);
  $("card-close").addEventListener("click", () => $("card").close());
}

async function start() {
  info = await api.info();
  const fill = (id, pairs) => $(id).replaceChildren(...pairs.map(([value, textContent]) => element("option", { value, textContent })));
  fill("model", info.models.map((model) => [model.name, model.name]));
  for (const [i, model] of info.models.entries()) {
    if (model.usable) continue;
    $("model").options[i].disabled = true;
    $("model").options[i].textContent += " (non-commercial; not accepted)";
  }
  $("model").value = info.default_model;
  fill("sampler", info.samplers.map((name) => [name, name]));
  fill("samples", SAMPLES.filter((count) => count <= info.limits.samples).map((count) => [count, count === 1 ? "1" : `${count}, and where they disagree`]));
  fill("format", [["", "as the photo"], ...info.formats.map((name) => [name, name.toUpperCase()])]);
  fill("metadata", [["keep", "keep all"], ["minimal", "author, dates, resolution"], ["strip", "none"]]);
  $("limits").textContent = `Up to ${bytes(info.limits.bytes)} and ${Math.round(info.limits.pixels / 1e6) || info.limits.pixels / 1e6} megapixels; JPEG, PNG, WebP, TIFF, AVIF, JPEG XL and more.`;
  wire();
  document.documentElement.dataset.ready = "yes";
}

start().catch(fail);
