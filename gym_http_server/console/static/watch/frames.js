// Frames of instances and of recorded episodes: pictures on a canvas, or texts where the render mode is `ansi`.

import { show } from "./ansi.js";
import { send } from "./requests.js";

const ACCEPT = "image/png, image/jpeg;q=0.9, text/plain;q=0.8";

/** Return the one child of an element, which is made anew where it is of another kind. */
function only(holder, tag, label) {
  const old = holder.firstElementChild;
  if (old?.localName === tag) return old;
  const made = document.createElement(tag);
  made.setAttribute("aria-label", label);
  if (tag === "canvas") made.setAttribute("role", "img");
  else made.tabIndex = 0;
  holder.replaceChildren(made);
  return made;
}

/**
 * Draw the current frame of an instance.
 * @param holder the element that it is drawn in
 * @param api address of the instance's operations
 * @param label what it is, for who does not see it
 * @param maxAge how many seconds old it may be, so that viewers share it
 * @param lane the lane of a batch
 */
export async function drawFrame(holder, api, label, maxAge, lane) {
  const query = new URLSearchParams({ max_age: maxAge, ...(lane === undefined ? {} : { lane }) });
  await drawFrom(holder, `${api}render/?${query}`, label);
}

/** Draw the frame that is at an address; `options` are those of `fetch`. */
export async function drawFrom(holder, url, label, options = {}) {
  const reply = await send(url, { headers: { Accept: ACCEPT }, ...options });
  if (reply.headers.get("Content-Type").startsWith("text/")) {
    show(only(holder, "pre", label), await reply.text());
    return;
  }
  const picture = await createImageBitmap(await reply.blob());
  const canvas = only(holder, "canvas", label);
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
}
