// The fields of each list: what can be asked for, with the words that explain it.

import { element } from "./elements.js";

const number = (name, label, hint, more = {}) => ({ name, label, hint, kind: "number", more });
const choice = (name, label, options) => ({ name, label, options });

const ISSUES = ["blurred", "dark", "bright", "low-information", "odd-aspect", "tiny"].map((name) => [name, name.replace("-", " ")]);
const METHODS = [["typical", "typical"], ["k-centre", "k-centre"], ["random", "random"]];
const share = { min: 0, max: 1, step: "any" };
const count = { min: 1, step: 1 };

/** Columns that may hold labels; `first` is what an empty choice means. */
const labelled = (page, first) => [
  ["", first],
  ...page.collections[page.current].columns.filter((name) => name !== "label").map((name) => [name, name]),
  ["mark", "marks (keep, remove, look again)"],
];

const FIELDS = {
  duplicates: () => [number("near", "Same picture from", "chosen", share), number("scene", "Same scene from", "chosen", share)],
  outliers: () => [number("n", "How many", "1 in 100", count), number("k", "Neighbour", "10", count)],
  quality: () => [choice("only", "Only", [["", "all"], ...ISSUES])],
  suspects: (page) => [choice("labels", "Labels", labelled(page, "of the collection")), number("n", "How many", "all", count)],
  clusters: () => [number("k", "How many", "chosen", count)],
  select: (page) => [
    number("n", "How many", "20", count),
    choice("method", "Method", METHODS),
    choice("labelled", "Labelled already", [["", "none"], ["label", "those with a label"], ...labelled(page, "").slice(1)]),
  ],
  label: (page) => [
    choice("labels", "Labels", labelled(page, "of the collection")),
    number("confidence", "Least confidence", "0", share),
    number("k", "Votes", "10", count),
  ],
};

function field(view, { name, label, hint, options, kind, more }) {
  const id = `${view.id}-${name}`;
  const input = options
    ? element("select", { id, name }, ...options.map(([value, text]) => element("option", { value }, text)))
    : element("input", { id, name, type: kind, placeholder: hint, ...more });
  return element("div", { className: "field" }, element("label", { htmlFor: id }, label), input);
}

/** A form for a list; `find(text)` is called with its fields as the part of an address after the question mark. */
export function formOf(page, view, kind, find) {
  const form = element(
    "form",
    { className: "row asked", noValidate: true, ariaLabel: `How to look for ${kind}` },
    ...FIELDS[kind](page).map((one) => field(view, one)),
    element("button", { type: "submit" }, "Find"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find(fieldsOf(form));
  });
  return form;
}

/** Give the fields of a form that are filled in, as the part of an address after the question mark. */
export function fieldsOf(form) {
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  return new URLSearchParams(filled).toString();
}
