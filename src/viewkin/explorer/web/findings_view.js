// Duplicates and outliers, to go through with the keyboard.

import { getWhenReady, post, progressText } from "./api.js";
import { card, list } from "./cards.js";
import { element, note } from "./elements.js";

const KINDS = { exact: "The same bytes", near: "The same picture", scene: "The same scene", outlier: "" };
const GROUPS = 60; // groups that are shown at once

function linesOf(group, image) {
  if (group.kind === "outlier") return [{ text: `distance ${image.distance.toFixed(3)}` }];
  const first = image === group.images[0];
  return [{ text: first ? (group.kind === "scene" ? "" : "suggested to keep") : `alike ${image.likeness.toFixed(3)}` }];
}

function groupOf(page, collection, group) {
  const cards = group.images.map((image, place) => {
    const made = card(page, collection, image, linesOf(group, image));
    if (place === 0 && group.kind !== "scene") made.classList.add("suggested");
    return made;
  });
  const title = KINDS[group.kind] ?? group.kind;
  const part = element("section", { className: "group", ariaLabel: title }, element("h2", {}, title), list(cards, title));
  part.dataset.rows = group.images.map((image) => image.row).join(" ");
  return part;
}

function addGroups(page, place, collection, groups, from = 0) {
  const some = groups.slice(from, from + GROUPS);
  if (groups.length && groups[0].kind === "outlier") {
    const cards = some.map((group) => card(page, collection, group.images[0], linesOf(group, group.images[0])));
    place.append(list(cards, "Outliers, the farthest first"));
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

function markRest(page, collection, groups) {
  const rest = groups.filter((group) => group.kind === "exact" || group.kind === "near")
    .flatMap((group) => group.images.slice(1).map((image) => image.row));
  if (!rest.length) return null;
  const button = element("button", { type: "button" }, `Mark ${rest.length.toLocaleString("en")} ${rest.length === 1 ? "copy" : "copies"} as “Remove”`);
  button.addEventListener("click", () => page.marks.put(collection, rest, "remove"));
  return button;
}

function keysNote(kind) {
  const keys = [["←→↑↓", "go"], ["Enter", "neighbours"], ["Space", "large"], ["1", "keep"], ["2", "remove"], ["3", "look again"], ["0", "no mark"]];
  if (kind === "duplicates") keys.push(["n", "not a duplicate of the first"]);
  const parts = keys.flatMap(([key, what]) => [element("kbd", {}, key), ` ${what}  `]);
  return element("p", { className: "note" }, ...parts);
}

/** Show a list; `again` has it made anew. */
export async function showFindings(page, view, collection, kind, { again = false } = {}) {
  const bar = element("progress", { ariaLabel: "Progress" });
  const said = note("");
  view.replaceChildren(said, bar);
  const address = `/api/${collection}/findings/${kind}`;
  const found = await getWhenReady(again ? `${address}?again=yes` : address, (told) => {
    said.textContent = progressText(told);
    if (told.total) Object.assign(bar, { max: told.total, value: told.done });
    else bar.removeAttribute("value");
  });
  const renew = element("button", { type: "button" }, "Look again");
  renew.addEventListener("click", () => page.tried(showFindings(page, view, collection, kind, { again: true })));
  const buttons = element("div", { className: "row" }, ...[markRest(page, collection, found.groups), renew].filter(Boolean));
  view.replaceChildren(...found.notes.map((text) => note(text)), keysNote(kind), buttons);
  if (!found.groups.length) view.append(note(`No ${kind} were found.`));
  addGroups(page, view, collection, found.groups);
}

/** Take the key n: the image is no duplicate of the first of its group. Whether it was that key. */
export function partByKey(page, event, current) {
  const group = current.closest(".group");
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
