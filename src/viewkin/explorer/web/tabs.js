// Tabs by the pattern of the ARIA authoring practices: arrow keys choose among them.

import { byId, element } from "./elements.js";

export class Tabs {
  /** `names` maps an id to a title and to what is called when the tab is shown. */
  constructor(names) {
    this.tabs = new Map();
    for (const [id, [title, opened]] of Object.entries(names)) {
      const button = element("button", { type: "button", id: `tab-${id}`, role: "tab" }, title);
      button.setAttribute("aria-controls", `view-${id}`);
      const view = element("div", { id: `view-${id}`, role: "tabpanel", hidden: true, tabIndex: 0 });
      view.setAttribute("aria-labelledby", `tab-${id}`);
      button.addEventListener("click", () => this.show(id));
      byId("tabs").append(button);
      byId("views").append(view);
      this.tabs.set(id, { button, view, opened });
    }
    byId("tabs").addEventListener("keydown", (event) => this.key(event));
  }

  view(id) {
    return this.tabs.get(id).view;
  }

  show(id, { focus = false } = {}) {
    for (const [other, { button, view }] of this.tabs) {
      const chosen = other === id;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      view.hidden = !chosen;
    }
    this.current = id;
    const { button, opened } = this.tabs.get(id);
    if (focus) button.focus();
    opened?.();
  }

  key(event) {
    const ids = [...this.tabs.keys()];
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    this.show(ids[(ids.indexOf(this.current) + step + ids.length) % ids.length], { focus: true });
    event.preventDefault();
  }
}
