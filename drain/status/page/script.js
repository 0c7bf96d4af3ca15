"use strict";
// The page fetches itself and takes over what has changed. It asks for nothing else, and sends nothing.
(() => {
  const every = 5000;
  const byId = (id) => document.getElementById(id);
  const pause = byId("pause"), note = byId("note");
  let paused = false, asking = false;

  // take replaces an element by its successor, but leaves open what is open, and the focus where it is.
  function take(next, id) {
    const old = byId(id), now = next.getElementById(id);
    if (!old || !now || old.outerHTML === now.outerHTML) return;
    for (const d of old.querySelectorAll("details[id]")) {
      const same = next.getElementById(d.id);
      if (same) same.open = d.open;
    }
    const at = document.activeElement;
    const scrolled = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    const focus = old.contains(at) ? place(at, old) : null;
    old.replaceWith(document.adoptNode(now));
    now.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    if (focus) find(focus, now)?.focus({preventScroll: true});
  }

  // place says where an element is: below the closest one with an id, which of its kind.
  function place(el, within) {
    const owner = el.closest("[id]") || within;
    return {id: owner.id, tag: el.tagName, i: el === owner ? -1 : [...owner.querySelectorAll(el.tagName)].indexOf(el)};
  }
  function find(p, within) {
    const owner = byId(p.id) || within;
    return p.i < 0 ? owner : owner.querySelectorAll(p.tag)[p.i];
  }

  async function refresh() {
    const selected = getSelection();
    if (paused || asking || document.hidden || (selected && !selected.isCollapsed)) return;
    asking = true;
    try {
      const r = await fetch(location.pathname + location.search, {cache: "no-store", signal: AbortSignal.timeout(4000)});
      if (!r.ok) throw new Error("status " + r.status);
      const next = new DOMParser().parseFromString(await r.text(), "text/html");
      document.title = next.title;
      const icon = document.querySelector("link[rel=icon]"), other = next.querySelector("link[rel=icon]");
      if (icon && other && icon.href !== other.href) icon.href = other.href;
      for (const id of ["verdict", "phase", "clock", "main"]) take(next, id);
      if (note.textContent) note.textContent = "";
    } catch {
      const shown = byId("clock").textContent;
      const text = "No answer from the service. What is shown is from " + shown + "; look at its log and at its final report.";
      if (note.textContent !== text) note.textContent = text;
    } finally {
      asking = false;
    }
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, every);
})();
