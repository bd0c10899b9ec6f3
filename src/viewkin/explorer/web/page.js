// The page as a whole: what is shown of which collection, and how its parts hear of each other.

import { get, getResponse, getWhenReady, pause, post, progressText } from "./api.js";
import { byId, element } from "./elements.js";
import { partByKey, showFindings } from "./findings_view.js";
import { listenToKeys } from "./cards.js";
import { showImage } from "./image_view.js";
import { PointMap } from "./map.js";
import { Marks } from "./marks.js";
import { Pictures } from "./pictures.js";
import { showMarked, showSelection } from "./selection_view.js";
import { Tabs } from "./tabs.js";

const LISTS = {
  duplicates: "Duplicates",
  outliers: "Outliers",
  quality: "Quality",
  suspects: "Suspects",
  clusters: "Clusters",
  select: "To label",
  label: "Pass labels on",
};

export class Page {
  constructor() {
    this.k = 12; // neighbours that are shown
    this.current = 0; // the collection whose map is shown
    this.selected = [];
    this.column = null;
    this.columnName = "";
    this.loaded = new Set(); // lists that are there already
    this.marks = new Marks(() => this.marked(), (error) => this.say(error.message, true));
    this.map = new PointMap(byId("points"), {
      point: (row) => this.open(this.current, row),
      lasso: (rows) => this.select(rows),
      over: (row, x, y) => this.tip(row, x, y),
      out: () => (byId("tip").hidden = true),
      moved: () => this.pictures?.soon(),
      pictureAt: (x, y) => this.pictures?.at(x, y) ?? null,
    });
    this.pictures = new Pictures(byId("pictures"), this.map, (row) => this.thumbnail(this.current, row));
    this.tabs = new Tabs({
      image: ["Image"],
      selection: ["Selection"],
      ...Object.fromEntries(Object.entries(LISTS).map(([kind, title]) => [kind, [title, () => this.list(kind)]])),
      marked: ["Marked", () => this.tried(showMarked(this, this.tabs.view("marked"), this.current))],
    });
    listenToKeys(this, byId("views"), (event, card) => partByKey(this, event, card));
  }

  /** Ask what there is to show. */
  async load() {
    this.collections = await get("/api/collections");
    await this.marks.load(this.collections.length);
    document.body.classList.toggle("comparing", this.collections.length > 1);
    this.tabs.view("image").append(
      element("p", { className: "note" }, "Click a point for the images nearest to it. Drop or paste an image anywhere to search by it."),
    );
    this.tabs.show("image");
  }

  /** Show the map of a collection. */
  async show(number) {
    this.current = number;
    const one = this.collections[number];
    byId("title").textContent = `${one.name}: ${one.images.toLocaleString("en")} images`;
    document.title = `${one.name} – viewkin explore`;
    this.fillColours();
    const first = one.columns.find((name) => name === "label") ?? one.columns.find((name) => name === "top folder" || name === "folder") ?? "";
    byId("colour").value = first;
    this.loaded.clear();
    this.pictures.clear();
    for (const name of Object.keys(LISTS)) this.tabs.view(name).replaceChildren();
    this.select([], { tab: false });
    if (this.tabs.current !== "image") this.tabs.show(this.tabs.current);
    await this.colourBy(first, false);
    await this.drawMap();
  }

  fillColours() {
    const names = ["", ...this.collections[this.current].columns];
    byId("colour").replaceChildren(...names.map((name) => element("option", { value: name }, name || "(nothing)")));
  }

  /** Offer columns that a list gave; the choice stays as it is. */
  async offerColumns(collection) {
    this.collections[collection] = (await get("/api/collections"))[collection];
    if (collection !== this.current) return;
    const chosen = byId("colour").value;
    this.fillColours();
    byId("colour").value = chosen;
  }

  chooseColour(name) {
    byId("colour").value = name;
    return this.colourBy(name);
  }

  /** Stop drawing the wanted map, or begin again. */
  async draw(wanted) {
    await post(`/api/${this.current}/map`, { draw: wanted });
    if (wanted) await this.drawMap();
  }

  /** Draw the map that is there, and the wanted one when it is ready. */
  async drawMap() {
    const shown = this.current;
    for (let round = 0; ; round += 1) {
      const answer = await getResponse(`/api/${shown}/map`);
      const ready = answer.headers.get("x-ready") === "yes";
      if (shown !== this.current) return;
      if (round === 0 || ready) {
        this.points = new Float32Array(await answer.arrayBuffer());
        this.legend(await this.map.show(this.points, this.column, { glide: round > 0 }));
        document.body.dataset.map = answer.headers.get("x-map");
      }
      byId("stop-map").hidden = ready;
      byId("draw-map").hidden = !ready || answer.headers.get("x-map") === this.collections[shown].map;
      if (ready) {
        document.body.dataset.ready = "yes";
        this.say(`Map by ${{ tsne: "t-SNE", umap: "UMAP", pca: "principal components" }[answer.headers.get("x-map")]}.`);
        return;
      }
      document.body.dataset.first = "yes";
      await this.follow(shown);
    }
  }

  /** Say how far the wanted map is until it is there. */
  async follow(shown) {
    for (;;) {
      const told = await get(`/api/${shown}/progress`);
      if (shown !== this.current) return;
      if (told.stopped && !told.ended) this.say("Stopping …");
      if (told.error) this.say(`The map could not be drawn: ${told.error}`, true);
      if (told.ended) return;
      if (!told.stopped) this.say(`Map by principal components for now. ${progressText(told)}`);
      await pause(700);
    }
  }

  async colourBy(name, draw = true) {
    const address = `/api/${this.current}/column/${encodeURIComponent(name)}`;
    this.column = name ? await getWhenReady(address, (told) => this.say(progressText(told))) : null;
    this.columnName = name && !["label", "split", "size"].includes(name) ? name : "";
    if (draw) this.legend(await this.map.show(this.points, this.column));
    if (draw) this.pictures.arrange();
    if (draw && name) this.say(`Coloured by ${name}.`);
  }

  columnValue(collection, row) {
    if (!this.columnName || collection !== this.current || this.column?.kind !== "names") return null;
    return this.column.names[this.column.values[row]] ?? null;
  }

  legend(entries) {
    const svg = "http://www.w3.org/2000/svg";
    byId("legend").replaceChildren(...entries.map(({ name, colour }) => {
      const sign = document.createElementNS(svg, "svg");
      for (const [key, value] of Object.entries({ width: 10, height: 10, "aria-hidden": "true" })) sign.setAttribute(key, value);
      const dot = document.createElementNS(svg, "circle");
      for (const [key, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: colour })) dot.setAttribute(key, value);
      sign.append(dot);
      return element("li", {}, sign, name);
    }));
  }

  thumbnail(collection, row) {
    return `/api/${collection}/thumbnail/${row}?v=${this.collections[collection].state}`;
  }

  picture(collection, row) {
    return `/api/${collection}/picture/${row}?v=${this.collections[collection].state}`;
  }

  open(collection, row) {
    this.tabs.show("image");
    if (collection === this.current) this.ring([row]);
    return this.tried(showImage(this, this.tabs.view("image"), collection, row));
  }

  async goTo(collection, row) {
    if (collection !== this.current) {
      byId("map-of").value = collection;
      await this.tried(this.show(collection));
    }
    await this.map.goTo(row);
    this.ring([row]);
  }

  ring(rows) {
    this.map.ring(rows);
    this.pictures.soon();
  }

  select(rows, { tab = true } = {}) {
    this.selected = rows;
    this.ring(rows);
    if (tab) this.tabs.show("selection");
    if (tab && rows.length) this.say(`${rows.length.toLocaleString("en")} selected.`);
    return this.tried(showSelection(this, this.tabs.view("selection"), this.current, rows));
  }

  async find(text) {
    const { rows } = await get(`/api/${this.current}/find?text=${encodeURIComponent(text)}`);
    this.select(rows);
  }

  list(kind) {
    if (this.loaded.has(kind)) return;
    this.loaded.add(kind);
    showFindings(this, this.tabs.view(kind), this.current, kind);
  }

  marked() {
    this.marks.paint();
    this.say("Marked.");
    if (this.tabs.current === "marked") this.tabs.show("marked");
  }

  tip(row, x, y) {
    const tip = byId("tip");
    tip.replaceChildren(element("img", { alt: "", src: this.thumbnail(this.current, row) }));
    tip.hidden = false;
    const { clientWidth, clientHeight } = byId("map");
    tip.style.transform = `translate(${x > clientWidth / 2 ? x - 198 : x + 14}px, ${y > clientHeight / 2 ? y - 190 : y + 14}px)`;
  }

  say(text, wrong = false) {
    byId("status").textContent = text;
    byId("status").classList.toggle("error", wrong);
  }

  /** Wait for work, and say what went wrong with it. */
  async tried(work, failed = () => {}) {
    try {
      return await work;
    } catch (error) {
      failed(error);
      this.say(error.message, true);
      return null;
    }
  }
}
