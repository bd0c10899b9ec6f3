// Images that were selected by lasso, by text or by what is in view; and those that bear a mark.

import { post } from "./api.js";
import { card, list } from "./cards.js";
import { element, note, save } from "./elements.js";
import { NAMES } from "./marks.js";

const SHOWN = 120; // images that a list shows at once

export async function exportRows(page, collection, rows) {
  const answer = await post(`/api/${collection}/export`, { rows });
  save(await answer.blob(), "images.csv");
  page.say(`${rows.length.toLocaleString("en")} images written to images.csv.`);
}

/** Fill `place` with cards of rows, more of them at a press of a button. */
async function addCards(page, place, collection, rows, from = 0) {
  const some = rows.slice(from, from + SHOWN);
  if (!some.length) return;
  const facts = await (await post(`/api/${collection}/rows`, { rows: some })).json();
  const lines = (one) => (one.class_name ?? one.label) !== null ? [{ text: String(one.class_name ?? one.label) }] : [];
  place.append(list(facts.map((one) => card(page, collection, one, lines(one))), "Images"));
  page.marks.paint();
  const left = rows.length - from - some.length;
  if (left <= 0) return;
  const more = element("button", { type: "button" }, `Show more (${left.toLocaleString("en")} left)`);
  more.addEventListener("click", () => {
    more.remove();
    page.tried(addCards(page, place, collection, rows, from + SHOWN));
  });
  place.append(more);
}

function exportButton(page, collection, rows) {
  const button = element("button", { type: "button", className: "export" }, "Export as CSV");
  button.addEventListener("click", () => page.tried(exportRows(page, collection, rows)));
  return button;
}

export async function showSelection(page, view, collection, rows) {
  view.replaceChildren();
  if (!rows.length) {
    view.append(note("Nothing is selected. Press Lasso and draw around points, or Shift and drag; type a part of a key or a condition such as label=cat above; or press “Select what is in view”."));
    return;
  }
  const count = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "image" : "images"} selected`;
  const clear = element("button", { type: "button" }, "Clear");
  clear.addEventListener("click", () => page.select([]));
  const buttons = page.marks.buttons(collection, () => rows);
  view.append(element("h2", {}, count), element("div", { className: "row" }, exportButton(page, collection, rows), clear), buttons);
  await addCards(page, view, collection, rows);
}

export async function showMarked(page, view, collection) {
  view.replaceChildren();
  let any = false;
  for (const [name, title] of Object.entries(NAMES)) {
    const rows = page.marks.rows(collection, name);
    if (!rows.length) continue;
    any = true;
    const head = element("h2", {}, `${title}: ${rows.length.toLocaleString("en")}`);
    const part = element("section", { ariaLabel: title }, head, element("div", { className: "row" }, exportButton(page, collection, rows)));
    view.append(part);
    await addCards(page, part, collection, rows);
  }
  if (!any) view.append(note("No image is marked. Choose one and press 1 (keep), 2 (remove) or 3 (look again); 0 takes the mark away. Marks stay in the collection."));
}
