// Shows the test image under the pointer, and where the other maps have it.
// A figure has <g class="maps" data-sheet="NAME">; its thumbnails are in <img id="sheet-NAME">.
"use strict";
(() => {
  const REACH = 6; // units of the figure
  const tip = document.createElement("div");
  tip.style.cssText = "position:fixed;display:none;pointer-events:none;padding:4px;font:12px sans-serif;" +
    "background:var(--paper,#fff);color:var(--ink,#222);border:1px solid var(--grid,#ccc);z-index:9";
  const picture = document.createElement("div");
  const words = document.createElement("div");
  tip.append(picture, words);
  document.body.append(tip);

  const read = (path) => {
    const at = path.dataset.at.split(" ").map(Number);
    return path.getAttribute("d").slice(1).split("M").map((text, i) => {
      const [x, y] = text.split("h")[0].split(" ").map(Number);
      return { x, y, at: at[i], name: path.dataset.class };
    });
  };

  const ring = (panel) => {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of Object.entries({ r: 6, fill: "none", "stroke-width": 2, visibility: "hidden" })) {
      circle.setAttribute(name, value);
    }
    circle.style.stroke = "var(--ink, #222)";
    panel.append(circle);
    return circle;
  };

  const showThumbnail = (sheet, at) => {
    picture.style.display = sheet ? "block" : "none";
    if (!sheet) return;
    const side = 2 * Number(sheet.dataset.side), columns = Number(sheet.dataset.columns);
    const place = `-${(at % columns) * side}px -${Math.floor(at / columns) * side}px`;
    picture.style.cssText = `width:${side}px;height:${side}px;image-rendering:pixelated;` +
      `background:url(${sheet.src}) ${place} / ${columns * side}px auto`;
  };

  for (const figure of document.querySelectorAll("g.maps")) {
    const sheet = document.getElementById(`sheet-${figure.dataset.sheet}`);
    const panels = [...figure.querySelectorAll("g.map")].map((panel) => ({
      panel, ring: ring(panel), points: [...panel.querySelectorAll("path[data-at]")].flatMap(read),
    }));
    const hide = () => {
      tip.style.display = "none";
      for (const { ring } of panels) ring.setAttribute("visibility", "hidden");
    };
    const show = (found, event) => {
      showThumbnail(sheet, found.at);
      words.textContent = found.name;
      tip.style.display = "block";
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4)}px`;
      tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)}px`;
      for (const { ring, points } of panels) {
        const same = points.find((point) => point.at === found.at);
        if (!same) continue;
        ring.setAttribute("cx", same.x);
        ring.setAttribute("cy", same.y);
        ring.setAttribute("visibility", "visible");
      }
    };
    const svg = figure.ownerSVGElement;
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      let best = null, least = REACH * REACH;
      for (const { panel, points } of panels) {
        const own = new DOMPoint(event.clientX, event.clientY).matrixTransform(panel.getScreenCTM().inverse());
        for (const point of points) {
          const distance = (point.x - own.x) ** 2 + (point.y - own.y) ** 2;
          if (distance < least) [best, least] = [point, distance];
        }
      }
      if (best) show(best, event); else hide();
    });
  }
})();
