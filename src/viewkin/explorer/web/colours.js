// From a column to a colour for each point and a legend.

// Okabe and Ito (2008), the yellow darkened; two more for ten groups. The same as in viewkin's figures.
const NAMED = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#807000", "#24282e", "#7b52ab", "#8c4a2f"];
const GREY = "#aaaeb4";
// viridis at nine places (van der Walt and Smith, 2015), its yellow end cut off for white paper.
const SCALE = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#86d549", "#aadc32"];
const STEPS = 48;

const channels = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

function between(share) {
  const place = Math.min(share, 1) * (SCALE.length - 1);
  const low = Math.min(Math.floor(place), SCALE.length - 2);
  const [one, other] = [channels(SCALE[low]), channels(SCALE[low + 1])];
  const mixed = one.map((value, i) => Math.round(value + (other[i] - value) * (place - low)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

/** Colours of a column: `palette`, the place of each point in it, and the entries of a legend. */
export function colouring(column, count) {
  if (!column) return { palette: [NAMED[0]], places: new Float32Array(count), legend: [] };
  return column.kind === "numbers" ? ofNumbers(column) : ofNames(column);
}

function ofNumbers({ values, low, high }) {
  const palette = [...Array(STEPS).keys()].map((step) => between(step / (STEPS - 1)));
  palette.push(GREY);
  const places = Float32Array.from(values, (value) => (value < 0 ? STEPS : Math.round(value * (STEPS - 1))));
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const legend = ticks.map((share) => ({ name: number(low + share * (high - low)), colour: between(share) }));
  if (values.some((value) => value < 0)) legend.push({ name: "no value", colour: GREY });
  return { palette, places, legend };
}

function ofNames({ names, counts, values }) {
  const shown = names.length <= NAMED.length ? names.length : NAMED.length - 1;
  const palette = [...NAMED.slice(0, shown), GREY];
  const places = Float32Array.from(values, (value) => (value < 0 || value >= shown ? shown : value));
  const legend = names.slice(0, shown).map((name, i) => ({ name: `${name} (${counts[i].toLocaleString("en")})`, colour: NAMED[i] }));
  const rest = values.length - counts.slice(0, shown).reduce((sum, one) => sum + one, 0);
  if (rest > 0) {
    const name = names.length > shown ? `${(names.length - shown).toLocaleString("en")} others` : "no value";
    legend.push({ name: `${name} (${rest.toLocaleString("en")})`, colour: GREY });
  }
  return { palette, places, legend };
}
