// What the commands find, as lists to go through with the keyboard, each with the fields that it is asked for by.

import { getResponse, getWhenReady, post, progressText } from "./api.js";
import { card, list } from "./cards.js";
import { element, note, save } from "./elements.js";
import { fieldsOf, formOf } from "./forms.js";

const KINDS = { exact: "The same bytes", near: "The same picture", scene: "The same scene" };
const TITLES = {
  outlier: "Outliers, the farthest first",
  quality: "Poor pictures",
  suspect: "Doubtful labels, the most doubtful first",
  select: "To label, the most useful first",
  label: "New labels, the least certain first",
};
const NAMES = { suspects: "doubtful labels", select: "images to label", label: "images without a label", quality: "poor pictures" };
const GROUPS = 60; // groups that are shown at once

const LINES = {
  outlier: (image) => [`distance ${image.distance.toFixed(3)}`],
  quality: (image) => [image.issue, image.value.toPrecision(3)],
  suspect: (image) => [`is ${image.given}`, `like ${image.suggested}`, `doubt ${image.score.toFixed(3)}`],
  select: (image) => [`${image.rank}.`],
  label: (image) => [image.predicted ?? "(too uncertain)", `confidence ${image.confidence.toFixed(2)}`],
  cluster: (image) => [`typical ${image.similarity.toFixed(3)}`],
};

function linesOf(group, image) {
  if (group.kind in LINES) return LINES[group.kind](image).map((text) => ({ text }));
  const first = image === group.images[0];
  return [{ text: first ? (group.kind === "scene" ? "" : "suggested to keep") : `alike ${image.likeness.toFixed(3)}` }];
}

function groupOf(page, collection, group) {
  const cards = group.images.map((image, place) => {
    const made = card(page, collection, image, linesOf(group, image));
    if (place === 0 && (group.kind === "exact" || group.kind === "near")) made.classList.add("suggested");
    return made;
  });
  const title = group.title ?? KINDS[group.kind] ?? group.kind;
  const part = element("section", { className: "group", ariaLabel: title }, element("h2", {}, title));
  if (group.rows) part.append(element("div", { className: "row" }, selectAll(page, group.rows)));
  part.append(list(cards, title));
  if (group.kind in KINDS) part.dataset.rows = group.images.map((image) => image.row).join(" ");
  return part;
}

function addGroups(page, place, collection, groups, from = 0) {
  const some = groups.slice(from, from + GROUPS);
  const title = TITLES[groups[0]?.kind];
  if (title) {
    const cards = some.map((group) => card(page, collection, group.images[0], linesOf(group, group.images[0])));
    place.append(list(cards, title));
  } else {
    place.append(...some.map((group) => groupOf(page, collection, group)));
  }
  page.marks.paint();
  const left = groups.length - from - some.length;
  if (left <= 0) return;
  const more = element("button", { type: "button" }, `Show more (${left.toLocaleString("en")} left)`);
  more.addEventListener("click", () => {
    more.remove();
    addGroups(page, place, collection, groups, from + GROUPS);
  });
  place.append(more);
}

function selectAll(page, rows) {
  const count = rows.length === 1 ? "this 1 image" : `these ${rows.length.toLocaleString("en")} images`;
  const button = element("button", { type: "button", className: "select-all" }, `Select ${count}`);
  button.addEventListener("click", () => page.select(rows));
  return button;
}

function markRest(page, collection, groups) {
  const rest = groups.filter((group) => group.kind === "exact" || group.kind === "near")
    .flatMap((group) => group.images.slice(1).map((image) => image.row));
  if (!rest.length) return null;
  const button = element("button", { type: "button" }, `Mark ${rest.length.toLocaleString("en")} ${rest.length === 1 ? "copy" : "copies"} as “Remove”`);
  button.addEventListener("click", () => page.marks.put(collection, rest, "remove"));
  return button;
}

function exported(page, collection, kind) {
  const button = element("button", { type: "button", className: "export" }, "Export as CSV");
  button.addEventListener("click", () => page.tried((async () => {
    save(await (await getResponse(`/api/${collection}/findings/${kind}/csv`)).blob(), `${kind}.csv`);
    page.say(`Written to ${kind}.csv.`);
  })()));
  return button;
}

function colourButton(page, name) {
  const button = element("button", { type: "button" }, `Colour by ${name}`);
  button.addEventListener("click", () => page.tried(page.chooseColour(name)));
  return button;
}

function keysNote(kind) {
  const keys = [["←→↑↓", "go"], ["Enter", "neighbours"], ["Space", "large"], ["1", "keep"], ["2", "remove"], ["3", "look again"], ["0", "no mark"]];
  if (kind === "duplicates") keys.push(["n", "not a duplicate of the first"]);
  const parts = keys.flatMap(([key, what]) => [element("kbd", {}, key), ` ${what}  `]);
  return element("p", { className: "note" }, ...parts);
}

/** Show the form of a list, and the list that its empty fields ask for. */
export function showFindings(page, view, collection, kind) {
  const found = element("div");
  const find = (fields, again) => page.tried(fill(page, found, collection, kind, fields, again), (error) => {
    found.replaceChildren(note(error.message, "note error"));
  });
  const form = formOf(page, view, kind, (fields) => find(fields, true));
  view.replaceChildren(form, found);
  return find(fieldsOf(form), false);
}

async function fill(page, place, collection, kind, fields, again) {
  const bar = element("progress", { ariaLabel: "Progress" });
  const said = note("");
  const stop = element("button", { type: "button" }, "Stop");
  const turn = (place.turn ?? 0) + 1; // a later search takes the place of this one
  place.turn = turn;
  let wanted = true;
  stop.addEventListener("click", () => {
    wanted = false;
    page.tried(post(`/api/${collection}/findings/${kind}/stop`, {}));
  });
  place.replaceChildren(said, bar, stop);
  const address = `/api/${collection}/findings/${kind}?${fields}`;
  const found = await getWhenReady(address, (told) => {
    if (!wanted || place.turn !== turn) return false;
    said.textContent = progressText(told);
    if (told.total) Object.assign(bar, { max: told.total, value: told.done });
    else bar.removeAttribute("value");
    return true;
  }, again ? `${address}&again=yes` : address);
  if (place.turn !== turn) return;
  if (!wanted || found === null) {
    place.replaceChildren(note("Stopped. Press Find to begin again."));
    return;
  }
  const buttons = [
    markRest(page, collection, found.groups),
    found.groups.length && kind !== "clusters" && kind !== "duplicates" ? selectAll(page, found.rows) : null,
    found.rows.length ? exported(page, collection, kind) : null,
    ...found.columns.map((name) => colourButton(page, name)),
  ];
  place.replaceChildren(...found.notes.map((text) => note(text)));
  if (!found.groups.length) place.append(note(`No ${NAMES[kind] ?? kind} were found.`));
  else place.append(keysNote(kind));
  place.append(element("div", { className: "row" }, ...buttons.filter(Boolean)));
  addGroups(page, place, collection, found.groups);
  if (found.columns.length) await page.offerColumns(collection);
}

/** Take the key n: the image is no duplicate of the first of its group. Whether it was that key. */
export function partByKey(page, event, current) {
  const group = current.closest(".group[data-rows]");
  if (event.key !== "n" || !group) return false;
  const first = Number(group.dataset.rows.split(" ")[0]);
  const [row, collection] = [Number(current.dataset.row), Number(current.dataset.collection)];
  if (row === first) return true;
  page.tried((async () => {
    await post(`/api/${collection}/not-duplicates`, { rows: [first, row] });
    const item = current.closest("li");
    (item.nextElementSibling ?? item.previousElementSibling)?.querySelector(".card")?.focus();
    item.remove();
    if (group.querySelectorAll(".card").length < 2) group.remove();
    page.say("Remembered as no duplicate.");
  })());
  return true;
}
