// The map: all points by WebGL, with a lasso, zoom by wheel, keys and buttons.

import createScatterplot from "regl-scatterplot";

import { colouring } from "./colours.js";
import { passTouches } from "./touch.js";

const ZOOM = 1.5;
const STILL = 5; // pixels that a click may move
const STEP = 0.15; // share of the view that an arrow key moves

const sizeFor = (count) => (count > 50000 ? 2.5 : count > 10000 ? 3.5 : count > 1000 ? 5 : 8);

export class PointMap {
  /** Draw on a canvas; `told` has `point(row)`, `lasso(rows)`, `over(row, x, y)`, `out()` and `moved()`. */
  constructor(canvas, told) {
    this.canvas = canvas;
    this.count = 0;
    this.inLasso = false;
    this.ringed = new Set();
    this.plot = createScatterplot({
      canvas,
      width: "auto",
      height: "auto",
      backgroundColor: "#ffffff",
      pointColorActive: "#d55e00",
      pointColorHover: "#24282e",
      lassoColor: "#00598f",
      lassoInitiator: false, // it would need inline styles, which the content security policy forbids
      lassoOnLongPress: false,
      deselectOnDblClick: false,
      colorBy: "valueA",
      // Above a million points the library would make a worker of a text, which the policy forbids as well.
      spatialIndexUseWorker: false,
    });
    this.listen(told);
    this.listenToPictures(told);
    passTouches(canvas);
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  listen(told) {
    const on = (name, then) => this.plot.subscribe(name, then);
    on("lassoStart", () => (this.inLasso = true));
    on("lassoEnd", () => (this.inLasso = false));
    on("select", ({ points }) => {
      if (this.quiet) return;
      if (this.inLasso) told.lasso([...points]);
      else if (points.length) told.point(points[points.length - 1]);
    });
    on("pointover", (row) => {
      const [x, y] = this.plot.getScreenPosition(row);
      told.over(row, x, y);
    });
    on("pointout", told.out);
    on("view", told.moved);
    on("draw", told.moved);
  }

  /** Let a click anywhere on a picture count as one on its point; `told.pictureAt(x, y)` gives its row. */
  listenToPictures(told) {
    let pressed = null;
    const options = { capture: true };
    const place = (event) => {
      const { left, top } = this.canvas.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    this.canvas.addEventListener("mousedown", (event) => (pressed = place(event)), options);
    this.canvas.addEventListener("click", (event) => {
      const [x, y] = place(event);
      if (pressed === null || Math.hypot(x - pressed[0], y - pressed[1]) > STILL) return;
      const row = told.pictureAt(x, y);
      if (row === null) return;
      event.stopImmediatePropagation();
      told.point(row);
    }, options);
  }

  /** Put points of (x, y) pairs on the map, in the colours of a column. */
  async show(points, column, { glide = false } = {}) {
    this.count = points.length / 2;
    this.points = points;
    const colours = colouring(column, this.count);
    this.colours = colours;
    const [x, y] = [new Float32Array(this.count), new Float32Array(this.count)];
    for (let row = 0; row < this.count; row += 1) {
      x[row] = points[2 * row];
      y[row] = points[2 * row + 1];
    }
    this.plot.set({
      pointColor: colours.palette,
      pointSize: sizeFor(this.count),
      opacity: this.count > 10000 ? 0.6 : 0.85,
    });
    await this.plot.draw(
      { x, y, valueA: colours.places },
      { zDataType: "categorical", transition: glide, transitionDuration: 600 },
    );
    return colours.legend;
  }

  colourOf(row) {
    return this.colours.palette[this.colours.places[row]];
  }

  /** Ring some points, without telling anyone. */
  ring(rows) {
    this.ringed = new Set(rows);
    this.quiet = true;
    if (rows.length) this.plot.select(rows, { preventEvent: true });
    else this.plot.deselect({ preventEvent: true });
    this.quiet = false;
  }

  lassoMode(on) {
    this.plot.set({ mouseMode: on ? "lasso" : "panZoom" });
  }

  rowsInView() {
    return this.count ? Array.from(this.plot.get("pointsInView")) : [];
  }

  place(row) {
    return this.plot.getScreenPosition(row);
  }

  whole() {
    return this.plot.zoomToOrigin({ transition: false });
  }

  /** Go to a row, near enough to see it among its neighbours. */
  goTo(row) {
    const [x, y] = [this.points[2 * row], this.points[2 * row + 1]];
    return this.plot.zoomToLocation([x, y], Math.min(this.distance(), 0.25), { transition: false });
  }

  distance() {
    return this.plot.get("camera").distance[0];
  }

  zoom(factor) {
    const { target } = this.plot.get("camera");
    return this.plot.zoomToLocation([target[0], target[1]], this.distance() / factor, { transition: false });
  }

  move(right, up) {
    const { target } = this.plot.get("camera");
    const far = STEP * 2 * this.distance();
    return this.plot.zoomToLocation([target[0] + right * far, target[1] + up * far], this.distance(), { transition: false });
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) this.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(ZOOM);
    else if (event.key === "-") this.zoom(1 / ZOOM);
    else if (event.key === "0") this.whole();
    else return;
    event.preventDefault();
  }
}
