// The list of finished pictures, with what is known about each and what can be saved.

export function bytes(count) {
  if (count < 1e6) return `${Math.max(Math.round(count / 1e3), 1)} kB`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

export function time(seconds) {
  if (seconds < 9.5) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

// Makes the entry of one result. `more` has the title, the licence, the maps that its command needs, and `show`.
export function entry(result, more) {
  const facts = element("dl");
  const add = (term, text, title = "") => {
    facts.append(element("dt", { textContent: term, title }), element("dd", { title }, text));
  };
  const consistency = result.lr_consistency_db;
  if (consistency !== null) {
    add("LR-consistency", `${consistency.toFixed(1)} dB`,
      "The result, shrunk again, against the photo. Higher is closer; compare results of one model only.");
  }
  add("Colour drift", `${result.colour_drift.toFixed(2)} of 255`, "How far the mean colour has moved from the photo's.");
  add("Size", `${result.size[0]} × ${result.size[1]}, ${bytes(result.bytes)}`);
  add("Made in", time(result.seconds));
  add("Weights", more.licence);
  const save = element("a", { className: "button primary", href: result.picture, download: "", textContent: "Save picture" });
  const record = element("a", { className: "button", href: result.sidecar, download: "", textContent: "Record",
    title: "A JSON file with everything that decides the picture" });
  const command = element("code", { className: "command mono", textContent: result.command, tabIndex: 0 });
  const copy = element("button", { type: "button", textContent: "Copy command" });
  copy.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(result.command);
    } catch {
      getSelection().selectAllChildren(command); // no clipboard without a secure page: Ctrl-C does it
      copied = false;
    }
    copy.textContent = copied ? "Copied" : "Press Ctrl-C";
    setTimeout(() => (copy.textContent = "Copy command"), 2500);
  });
  const show = element("button", { type: "button", textContent: "Show" });
  show.addEventListener("click", more.show);
  const also = more.needs.length ? ` It also needs ${more.needs.join(" and ")} in that folder.` : "";
  const where = element("p", { className: "small", textContent: `Run it in the folder of your photo; it writes out/${result.name}.${also}` });
  const notes = result.notes.map((note) => element("p", { className: "small", textContent: note }));
  return element("li", {},
    element("h3", { textContent: more.title }),
    facts,
    ...notes,
    element("div", { className: "row" }, show, save, record),
    element("details", {},
      element("summary", { textContent: "Command that makes the same bytes" }),
      where, command, element("div", { className: "row" }, copy)));
}
