// Start the page, and let its buttons and fields work.

import { byId, element } from "./elements.js";
import { Page } from "./page.js";
import { listenToImages } from "./upload.js";

const ZOOM = 1.5;

function listenToTools(page) {
  const on = (id, then) => byId(id).addEventListener("click", then);
  const mode = (lasso) => {
    page.map.lassoMode(lasso);
    byId("lasso").setAttribute("aria-pressed", String(lasso));
    byId("pan").setAttribute("aria-pressed", String(!lasso));
  };
  on("pan", () => mode(false));
  on("lasso", () => mode(true));
  on("zoom-in", () => page.map.zoom(ZOOM));
  on("zoom-out", () => page.map.zoom(1 / ZOOM));
  on("whole", () => page.map.whole());
  on("in-view", () => page.select(page.map.rowsInView()));
  on("show-pictures", () => {
    page.pictures.turn(!page.pictures.on);
    byId("show-pictures").setAttribute("aria-pressed", String(page.pictures.on));
  });
  on("stop-map", () => page.tried(page.draw(false)));
  on("draw-map", () => page.tried(page.draw(true)));
  on("large-close", () => byId("large").close());
}

function listenToFields(page) {
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    page.tried(page.find(byId("find-text").value));
  });
  byId("colour").addEventListener("change", (event) => page.tried(page.colourBy(event.target.value)));
  byId("map-of").addEventListener("change", (event) => page.tried(page.show(Number(event.target.value))));
}

function offerMaps(page) {
  byId("map-choice").hidden = page.collections.length < 2;
  byId("map-of").replaceChildren(...page.collections.map((one, i) => element("option", { value: i }, one.name)));
}

async function main() {
  const page = new Page();
  listenToTools(page);
  listenToFields(page);
  listenToImages(page);
  await page.tried(page.load().then(() => {
    offerMaps(page);
    return page.show(0);
  }));
}

main();
