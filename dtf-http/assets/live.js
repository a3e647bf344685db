// Keeps what a part of a page that is fetched again would lose: the focus, what is chosen, and how far its tables are scrolled sideways. And
// fetches it when a stream of events says that it has changed.
"use strict";
(() => {
  let kept = null;

  // The ways to find an element again: its id, or its place among those that look the same.
  const alike = (element) => {
    const [name, value] = ["id", "href", "aria-label"].map((name) => [name, element.getAttribute(name)]).find(([, value]) => value) ?? [];
    return name && `${element.localName}[${name}="${CSS.escape(value)}"]`;
  };

  document.addEventListener("htmx:beforeSwap", ({ target }) => {
    const focus = target.contains(document.activeElement) ? alike(document.activeElement) : undefined;
    const place = focus && [...target.querySelectorAll(focus)].indexOf(document.activeElement);
    const chosen = [...target.querySelectorAll("input[type=checkbox]:checked")].map(({ value }) => value);
    kept = { focus, place, chosen, scrolled: [...target.querySelectorAll(".scroll")].map(({ scrollLeft }) => scrollLeft) };
  });

  document.addEventListener("htmx:afterSwap", ({ target }) => {
    if (!kept || target.id !== "live") return;
    const { focus, place, chosen, scrolled } = kept;
    kept = null;
    target.querySelectorAll("input[type=checkbox]").forEach((box) => (box.checked = chosen.includes(box.value)));
    target.querySelectorAll(".scroll").forEach((box, number) => (box.scrollLeft = scrolled[number] ?? 0));
    if (focus) target.querySelectorAll(focus)[place]?.focus({ preventScroll: true });
    follow();
  });

  let stream = null;

  // Pages that nobody looks at have no stream: a browser keeps six connections to a server. A stream that ends is opened again when the
  // part is fetched the next time, as long as it wants one.
  const follow = () => {
    const path = document.hidden ? undefined : document.querySelector("#live")?.dataset.events;
    if (stream && stream.readyState !== EventSource.CLOSED && path) return;
    stream?.close();
    stream = path ? new EventSource(path) : null;
    if (!stream) return;
    const changed = () => htmx.trigger("#live", "changed");
    stream.addEventListener("task", changed);
    stream.addEventListener("flow", changed);
    stream.addEventListener("error", ({ target }) => target.close());
  };

  document.addEventListener("visibilitychange", follow);
  document.addEventListener("DOMContentLoaded", follow);
})();
