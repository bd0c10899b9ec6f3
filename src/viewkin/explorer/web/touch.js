// regl-scatterplot listens to the mouse only. One finger becomes a mouse, two fingers a wheel.

const sent = (target, kind, touch, buttons) =>
  target.dispatchEvent(
    new MouseEvent(kind, { bubbles: true, cancelable: true, clientX: touch.clientX, clientY: touch.clientY, buttons }),
  );

const apart = ([one, other]) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);

/** Wait until two frames were drawn: the map takes a step from where the mouse was in the frame before. */
const frames = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

export function passTouches(canvas) {
  let finger = null; // the one finger that is down: where, and whether the mouse is pressed there
  let pinch = null; // how far two fingers are apart
  const options = { passive: false };
  const press = (one) => {
    if (one.pressed) return;
    one.pressed = true;
    sent(canvas, "mousedown", one.at, 1);
  };
  canvas.addEventListener("touchstart", (event) => {
    event.preventDefault();
    canvas.focus();
    const [first] = event.touches;
    sent(canvas, "mouseenter", first, 0); // without it the map takes no wheel
    sent(canvas, "mousemove", first, 0);
    if (event.touches.length === 1) {
      const one = { at: first, pressed: false };
      finger = one;
      frames().then(() => finger === one && press(one));
    } else {
      if (finger?.pressed) sent(canvas, "mouseup", first, 0); // ends what the first finger began alone
      finger = null;
      pinch = apart(event.touches);
    }
  }, options);
  canvas.addEventListener("touchmove", (event) => {
    event.preventDefault();
    if (finger?.pressed && event.touches.length === 1) sent(canvas, "mousemove", event.touches[0], 1);
    if (event.touches.length !== 2 || pinch === null) return;
    const now = apart(event.touches);
    const [one, other] = event.touches;
    const middle = { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 };
    const deltaY = canvas.clientHeight * Math.log(pinch / now); // the camera zooms by exp(deltaY / height)
    canvas.dispatchEvent(new WheelEvent("wheel", { bubbles: true, cancelable: true, deltaY, ...middle }));
    pinch = now;
  }, options);
  const lifted = (event) => {
    event.preventDefault();
    if (finger) {
      const [last] = event.changedTouches;
      const one = finger;
      finger = null;
      press(one);
      sent(canvas, "mouseup", last, 0);
      if (event.type === "touchend") sent(canvas, "click", last, 0);
    }
    if (event.touches.length === 0) pinch = null;
  };
  canvas.addEventListener("touchend", lifted, options);
  canvas.addEventListener("touchcancel", lifted, options);
}
