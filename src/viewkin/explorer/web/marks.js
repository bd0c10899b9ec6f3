// What images are marked as: kept by the server in the collection, shown on every card.

import { get, post } from "./api.js";
import { element } from "./elements.js";

export const NAMES = { keep: "Keep", remove: "Remove", check: "Look again" };
export const KEYS = { 1: "keep", 2: "remove", 3: "check", 0: null };

export class Marks {
  /** Marks of each collection; `changed` is called after each change, `failed` with what went wrong. */
  constructor(changed, failed) {
    Object.assign(this, { changed, failed, of: [] });
  }

  async load(count) {
    this.of = await Promise.all([...Array(count).keys()].map((one) => get(`/api/${one}/marks`)));
  }

  get(collection, row) {
    return this.of[collection]?.[row] ?? null;
  }

  rows(collection, name) {
    return Object.entries(this.of[collection] ?? {}).filter(([, mark]) => mark === name).map(([row]) => Number(row));
  }

  async put(collection, rows, mark) {
    try {
      this.of[collection] = await (await post(`/api/${collection}/marks`, { rows, mark })).json();
      this.changed();
    } catch (error) {
      this.failed(error);
    }
  }

  /** Buttons that mark the rows which `rows()` gives at that moment. */
  buttons(collection, rows) {
    const made = Object.entries({ ...NAMES, none: "No mark" }).map(([name, text]) => {
      const button = element("button", { type: "button" }, text);
      button.dataset.markAs = name;
      button.addEventListener("click", () => this.put(collection, rows(), name === "none" ? null : name));
      return button;
    });
    return element("div", { className: "row", role: "group", ariaLabel: "Mark as" }, ...made);
  }

  /** Show the marks on all cards of the page. */
  paint() {
    for (const card of document.querySelectorAll(".card[data-row]")) {
      const mark = this.get(Number(card.dataset.collection), Number(card.dataset.row));
      card.querySelector(".mark")?.remove();
      delete card.dataset.mark;
      if (!mark) continue;
      card.dataset.mark = mark;
      card.append(element("span", { className: `mark mark-${mark}` }, NAMES[mark]));
    }
  }
}
