// Lists of images as cards: arrow keys go from one to the next, Enter opens, 1 2 3 0 mark, Space shows it large.

import { byId, element } from "./elements.js";
import { KEYS } from "./marks.js";

const name = (key) => key.split("/").pop();

/** One image: `facts` has row and key; `lines` are short texts below it. */
export function card(page, collection, facts, lines = []) {
  const picture = element("img", { alt: "", loading: "lazy", decoding: "async", src: page.thumbnail(collection, facts.row) });
  picture.addEventListener("error", () => picture.removeAttribute("src"));
  const button = element(
    "button",
    { type: "button", className: "card", title: facts.key },
    picture,
    element("span", {}, name(facts.key)),
    ...lines.map((line) => element("span", { className: line.kind ?? "fact" }, line.text)),
  );
  Object.assign(button.dataset, { row: facts.row, collection, key: facts.key });
  button.addEventListener("click", () => page.open(collection, facts.row));
  return button;
}

export const list = (cards, label) =>
  element("ul", { className: "cards", ariaLabel: label }, ...cards.map((one) => element("li", {}, one)));

export function showLarge(page, collection, row, key) {
  byId("large-image").src = page.picture(collection, row);
  byId("large-image").alt = key;
  byId("large-name").textContent = key;
  byId("large").showModal();
}

/** Let keys work on the cards of a part of the page. `more(event, card)` may take further keys. */
export function listenToKeys(page, part, more = () => false) {
  part.addEventListener("keydown", (event) => {
    const current = event.target.closest(".card[data-row]");
    if (!current || event.ctrlKey || event.metaKey || event.altKey) return;
    const { collection, row, key } = current.dataset;
    if (event.key in KEYS) page.marks.put(Number(collection), [Number(row)], KEYS[event.key]);
    else if (event.key === " ") showLarge(page, collection, row, key);
    else if (!step(part, current, event.key) && !more(event, current)) return;
    event.preventDefault();
  });
}

/** Move the focus; whether the key was one that moves it. */
function step(part, current, key) {
  const cards = [...part.querySelectorAll(".card[data-row]")].filter((one) => one.offsetParent);
  const place = cards.indexOf(current);
  const line = cards.filter((one) => one.offsetTop === current.offsetTop && one.parentNode.parentNode === current.parentNode.parentNode);
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: line.length, ArrowUp: -line.length, Home: -place, End: cards.length - 1 - place };
  if (!(key in moves)) return false;
  const target = cards[Math.max(0, Math.min(cards.length - 1, place + moves[key]))];
  target?.focus();
  return true;
}
