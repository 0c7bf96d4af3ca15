"use strict";
// The page fetches itself and takes over what has changed. It asks for nothing else, and sends nothing.
(() => {
  const byId = (id) => document.getElementById(id);
  let asking = false;
  async function refresh() {
    const selected = getSelection(), main = byId("main");
    if (asking || document.hidden || (selected && !selected.isCollapsed)) return;
    asking = true;
    try {
      const r = await fetch(location.pathname + location.search, {cache: "no-store", signal: AbortSignal.timeout(8000)});
      if (!r.ok) throw new Error("status " + r.status);
      const next = new DOMParser().parseFromString(await r.text(), "text/html");
      document.title = next.title;
      for (const id of ["verdict", "clock"]) byId(id).replaceWith(document.adoptNode(next.getElementById(id)));
      // Who moves through the page with the keyboard keeps his place.
      const now = next.getElementById("main");
      if (!main.contains(document.activeElement) && main.innerHTML !== now.innerHTML) {
        const left = [...main.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
        main.replaceWith(document.adoptNode(now));
        now.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = left[i] || 0; });
      }
      byId("note").textContent = "";
    } catch {
      byId("note").textContent = "No answer from the auditor. What is shown may be old; look at its log.";
    } finally {
      asking = false;
    }
  }
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, 10000);
})();
