// regl-scatterplot listens to the mouse only. One finger becomes a mouse, two fingers a wheel.

const sent = (target, kind, touch, buttons) =>
  target.dispatchEvent(
    new MouseEvent(kind, { bubbles: true, cancelable: true, clientX: touch.clientX, clientY: touch.clientY, buttons }),
  );

const apart = ([one, other]) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);

export function passTouches(canvas) {
  let pinch = null;
  const options = { passive: false };
  canvas.addEventListener("touchstart", (event) => {
    event.preventDefault();
    canvas.focus();
    if (event.touches.length === 1) {
      sent(canvas, "mouseenter", event.touches[0], 0);
      sent(canvas, "mousemove", event.touches[0], 0);
      sent(canvas, "mousedown", event.touches[0], 1);
    } else if (event.touches.length === 2) {
      pinch = apart(event.touches);
    }
  }, options);
  canvas.addEventListener("touchmove", (event) => {
    event.preventDefault();
    if (event.touches.length === 1 && pinch === null) sent(canvas, "mousemove", event.touches[0], 1);
    if (event.touches.length !== 2 || pinch === null) return;
    const now = apart(event.touches);
    const [one, other] = event.touches;
    const middle = { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 };
    canvas.dispatchEvent(new WheelEvent("wheel", { bubbles: true, cancelable: true, deltaY: (pinch - now) * 2, ...middle }));
    pinch = now;
  }, options);
  canvas.addEventListener("touchend", (event) => {
    event.preventDefault();
    const [last] = event.changedTouches;
    sent(canvas, "mouseup", last, 0);
    if (pinch === null) sent(canvas, "click", last, 0);
    if (event.touches.length === 0) pinch = null;
  }, options);
}
