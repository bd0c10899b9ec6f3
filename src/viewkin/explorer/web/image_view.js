// One image or an upload: what is known of it, its neighbours in one or two collections, and its kin.

import { get } from "./api.js";
import { card, list, showLarge } from "./cards.js";
import { element, note } from "./elements.js";

const number = (value) => value.toFixed(3);

/** What stands below a neighbour: its similarity, its class, and how it ranks in the other collection. */
function linesOf(match, rank, comparing) {
  const lines = [{ text: `${rank}. ${number(match.similarity)}` }];
  const group = match.class_name ?? match.label;
  if (group !== null && group !== undefined) lines.push({ text: String(group) });
  if (!comparing) return lines;
  const other = match.other_rank;
  if (other === null) lines.push({ text: "only here", kind: "new" });
  else if (other === rank) lines.push({ text: "same rank" });
  else lines.push({ text: `there ${other}.` });
  return lines;
}

function answerOf(page, found, place) {
  const { matches, why } = found.lists[place];
  const comparing = found.shared !== null;
  const title = found.lists.length > 1 ? `${page.collections[place].name}` : "Nearest images";
  const cards = matches.map((match, i) => card(page, place, match, linesOf(match, i + 1, comparing)));
  const part = element("section", { ariaLabel: title }, element("h2", {}, title));
  part.dataset.answer = place;
  if (found.lists.length > 1) part.append(note(`model ${page.collections[place].model}`));
  part.append(why ? note(why) : list(cards, title));
  return part;
}

function subjectOf(page, collection, facts) {
  const picture = element("img", { alt: `Picture of ${facts.key}`, src: page.thumbnail(collection, facts.row) });
  const large = element("button", { type: "button", title: "Show it large" }, picture);
  large.addEventListener("click", () => showLarge(page, collection, facts.row, facts.key));
  const told = {
    key: facts.key,
    label: facts.class_name ?? facts.label,
    split: facts.split,
    pixels: facts.width ? `${facts.width} × ${facts.height}` : null,
    bytes: facts.size?.toLocaleString("en"),
    [page.columnName]: page.columnValue(collection, facts.row),
  };
  const pairs = Object.entries(told).filter(([, value]) => value !== null && value !== undefined);
  const rows = pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
  return element("div", { className: "subject" }, large, element("dl", {}, ...rows));
}

function sharedNote(found) {
  if (found.shared === null) return null;
  const most = Math.max(...found.lists.map((one) => one.matches.length));
  return note(`${found.shared} of ${most} neighbours are the same in both.`, "note shared");
}

/** Show what was found, with the query above it. */
export function showAnswer(page, view, found, head) {
  const columns = element("div", { className: "columns" }, ...found.lists.map((_, place) => answerOf(page, found, place)));
  view.replaceChildren(...[...head, sharedNote(found), columns].filter(Boolean));
  page.marks.paint();
}

export async function showImage(page, view, collection, row) {
  const found = await get(`/api/${collection}/neighbours/${row}?k=${page.k}`);
  const onMap = element("button", { type: "button" }, "Show on the map");
  onMap.addEventListener("click", () => page.goTo(collection, row));
  const head = [subjectOf(page, collection, found.query), page.marks.buttons(collection, () => [row])];
  head[1].append(onMap);
  showAnswer(page, view, found, head);
  await addKin(page, view, collection, row);
}

async function addKin(page, view, collection, row) {
  const told = await get(`/api/${collection}/kin/${row}`);
  const parts = told.kinds.map(({ what, negatives, images }) => {
    const title = `${negatives ? "Taken for others" : "Taken for kin"} in training: ${what}`;
    const cards = images.map((image) => {
      const lines = image.similarity === null ? [] : [{ text: number(image.similarity) }];
      return image.row === null ? element("span", {}, `${image.key} (not in the collection)`) : card(page, collection, image, lines);
    });
    return element("section", { className: "kin", ariaLabel: title }, element("h2", {}, title), list(cards, title));
  });
  view.append(...parts);
  page.marks.paint();
}
