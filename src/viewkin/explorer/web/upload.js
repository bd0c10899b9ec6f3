// Search by an image that is chosen, dropped or pasted.

import { postImage } from "./api.js";
import { byId, element, note } from "./elements.js";
import { showAnswer } from "./image_view.js";

const MOST = 32 * 2 ** 20; // bytes that the server takes
let preview = null;

async function searchBy(page, file) {
  if (file.size > MOST) throw new Error("The image has more than 32 MB: save it smaller.");
  page.say(`Searching by ${file.name || "the pasted image"} …`);
  const found = await postImage(`/api/search?k=${page.k}`, file);
  if (preview) URL.revokeObjectURL(preview);
  preview = URL.createObjectURL(file);
  const picture = element("img", { alt: "The image that was searched for", src: preview });
  picture.addEventListener("error", () => picture.remove()); // a kind that browsers do not show
  const head = [element("div", { className: "subject" }, picture, note(file.name || "Pasted image"))];
  showAnswer(page, page.tabs.view("image"), found, head);
  page.tabs.show("image");
  page.ring(found.lists.flatMap((one, place) => (place === page.current ? one.matches.map((match) => match.row) : [])));
  page.say(`Searched by ${file.name || "the pasted image"}.`);
}

const firstImage = (files) => [...(files ?? [])].find((file) => file.type.startsWith("image/") || /\.(hei[cf]|avif|tiff?)$/i.test(file.name));

export function listenToImages(page) {
  const take = (file) => file && page.tried(searchBy(page, file));
  byId("upload").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = firstImage(event.clipboardData?.files);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  let depth = 0;
  const inside = (change) => {
    depth = Math.max(0, depth + change);
    byId("drop").hidden = depth === 0;
  };
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => holdsFile(event) && inside(1));
  document.addEventListener("dragleave", (event) => holdsFile(event) && inside(-1));
  document.addEventListener("dragover", (event) => holdsFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    inside(-depth);
    const file = firstImage(event.dataTransfer.files);
    if (file) take(file);
    else page.say("What was dropped is no image.", true);
  });
}
