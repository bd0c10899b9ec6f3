// Elements of the page, made without markup in texts: names of files are shown as they are.

export const byId = (id) => document.getElementById(id);

/** Make an element with properties and children; texts become text nodes. */
export function element(kind, properties = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const note = (text, kind = "note") => element("p", { className: kind }, text);

/** Give a file to the person who looks at the page. */
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
