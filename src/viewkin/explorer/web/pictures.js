// Thumbnails over the points, where so few are in view that there is room for them.

import { element } from "./elements.js";

const MOST = 600; // points in view from which on there are none
const CELL = 56; // pixels that one takes
const HALF = 26; // half the side of one
const WAIT = 90; // milliseconds between two rounds

export class Pictures {
  /** Lay pictures over a map; `address(row)` names the picture of a row. */
  constructor(layer, map, address) {
    Object.assign(this, { layer, map, address, shown: new Map(), on: true, timer: null });
  }

  /** Ask for a new round soon. */
  soon() {
    this.follow();
    if (this.timer === null) this.timer = setTimeout(() => this.arrange(), WAIT);
  }

  turn(on) {
    this.on = on;
    this.arrange();
  }

  clear() {
    this.shown.clear();
    this.layer.replaceChildren();
  }

  /** Keep the pictures that are there on their points while the map moves. */
  follow() {
    for (const [row, picture] of this.shown) this.put(picture, this.map.place(row));
  }

  arrange() {
    clearTimeout(this.timer);
    this.timer = null;
    const rows = this.on ? this.map.rowsInView() : [];
    const chosen = rows.length <= MOST ? this.chosen(rows) : new Map();
    for (const [row, picture] of this.shown) {
      if (chosen.has(row)) continue;
      picture.remove();
      this.shown.delete(row);
    }
    for (const [row, place] of chosen) {
      let picture = this.shown.get(row);
      if (!picture) {
        picture = element("img", { alt: "", decoding: "async", src: this.address(row) });
        picture.addEventListener("error", () => picture.remove());
        this.layer.append(picture);
        this.shown.set(row, picture);
      }
      picture.style.borderColor = this.map.colourOf(row);
      picture.classList.toggle("ringed", this.map.ringed.has(row));
      this.put(picture, place);
    }
    this.layer.dataset.count = chosen.size;
  }

  /** Choose points whose pictures do not overlap; those that are shown already come first, so that none flickers. */
  chosen(rows) {
    const cells = new Map();
    const found = new Map();
    const free = ([x, y], column, line) => {
      for (let i = column - 1; i <= column + 1; i += 1) {
        for (let j = line - 1; j <= line + 1; j += 1) {
          const other = cells.get(`${i} ${j}`);
          if (other && Math.abs(other[0] - x) < CELL && Math.abs(other[1] - y) < CELL) return false;
        }
      }
      return true;
    };
    const before = (row) => this.map.ringed.has(row) || this.shown.has(row);
    for (const row of [...rows.filter(before), ...rows.filter((one) => !before(one))]) {
      const place = this.map.place(row);
      const [column, line] = [Math.floor(place[0] / CELL), Math.floor(place[1] / CELL)];
      if (!free(place, column, line)) continue;
      cells.set(`${column} ${line}`, place);
      found.set(row, place);
    }
    return found;
  }

  /** The row whose picture lies at a place of the layer; the last that was laid there is on top. */
  at(x, y) {
    let found = null;
    for (const row of this.shown.keys()) {
      const [left, top] = this.map.place(row);
      if (Math.abs(left - x) <= HALF && Math.abs(top - y) <= HALF) found = row;
    }
    return found;
  }

  put(picture, [x, y]) {
    picture.style.transform = `translate(${x - HALF}px, ${y - HALF}px)`;
  }
}
