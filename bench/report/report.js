"use strict";
// Sorts and filters the grid, chooses its metric and the figures, and switches between light and dark.
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const unique = (values) => [...new Set(values)];
  const select = (label, values, change) => {
    const list = make("select", {}, ...values.map((value) => make("option", { value, textContent: value })));
    list.addEventListener("change", () => change(list.value));
    return make("label", {}, `${label} `, list);
  };
  const natural = new Intl.Collator("en", { numeric: true }).compare;

  // ---- light and dark

  const themes = { "as the system": "", light: "light", dark: "dark" };
  const useTheme = (name) => {
    document.documentElement.dataset.theme = themes[name] ?? "";
    try { localStorage.setItem("bench-theme", name); } catch { /* a page of a file may keep nothing */ }
  };
  const theme = select("Colours", Object.keys(themes), useTheme);
  let kept = null;
  try { kept = localStorage.getItem("bench-theme"); } catch { /* the same */ }
  if (kept in themes) {
    theme.querySelector("select").value = kept;
    useTheme(kept);
  }
  document.getElementById("settings-of-page").append(make("div", { className: "controls" }, theme));

  // ---- the grid

  const holder = document.getElementById("grid-tables");
  const metrics = [...holder.children];
  const grids = metrics.map((block) => {
    const table = block.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    return {
      block,
      heads,
      body: table.tBodies[0],
      rows: [...table.tBodies[0].rows],
      labels: heads.flatMap((head, at) => (head.dataset.axis ? [{ axis: head.dataset.axis, at }] : [])),
      columns: heads.flatMap((head, at) => (head.dataset.values ? [{ at, values: JSON.parse(head.dataset.values) }] : [])),
      axes: JSON.parse(table.dataset.axes),
    };
  });
  const valuesOf = (grid, axis) => [
    ...grid.labels.filter((label) => label.axis === axis)
      .flatMap((label) => grid.rows.map((row) => row.cells[label.at].textContent)),
    ...(grid.axes.includes(axis) ? grid.columns.map((column) => column.values[grid.axes.indexOf(axis)]) : []),
  ];
  const left = new Map(); // of each axis, the values that are filtered out
  const count = make("span", { role: "status" });
  const isOut = (axis, value) => left.get(axis)?.has(value) ?? false;

  const filter = () => {
    for (const grid of grids) {
      for (const row of grid.rows) {
        row.hidden = grid.labels.some(({ axis, at }) => isOut(axis, row.cells[at].textContent));
      }
      for (const { at, values } of grid.columns) {
        const hidden = values.some((value, place) => isOut(grid.axes[place], value));
        grid.heads[at].hidden = hidden;
        for (const row of grid.rows) row.cells[at].hidden = hidden;
      }
    }
    const grid = grids.find((one) => !one.block.hidden);
    const rows = grid.rows.filter((row) => !row.hidden).length;
    const columns = grid.columns.filter(({ at }) => !grid.heads[at].hidden).length;
    count.textContent = `${rows} of ${grid.rows.length} rows, ${columns} of ${grid.columns.length} columns`;
  };

  const sort = (grid, at) => {
    const head = grid.heads[at];
    const isLabel = Boolean(head.dataset.axis);
    const first = isLabel || head.dataset.up === "0" ? "ascending" : "descending"; // the best first
    const other = first === "ascending" ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort");
    const next = now === first ? other : now === other ? null : first;
    for (const one of grid.heads) one.removeAttribute("aria-sort");
    if (next) head.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1;
    const keys = new Map(grid.rows.map((row, place) => {
      const text = row.cells[at].textContent;
      return [row, { text, place, number: parseFloat(text) }];
    }));
    const compare = (a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (!next) return x.place - y.place;
      if (isLabel) return sign * natural(x.text, y.text) || x.place - y.place;
      if (Number.isNaN(x.number) || Number.isNaN(y.number)) { // what has no score comes last
        return Number.isNaN(x.number) - Number.isNaN(y.number) || x.place - y.place;
      }
      return sign * (x.number - y.number) || x.place - y.place;
    };
    grid.body.append(...[...grid.rows].sort(compare));
  };

  for (const grid of grids) {
    grid.heads.forEach((head, at) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => sort(grid, at));
      head.append(button);
    });
  }

  const controls = make("div", { className: "controls" });
  if (metrics.length > 1) {
    controls.append(select("Metric", metrics.map((block) => block.dataset.metric), (name) => {
      for (const block of metrics) block.hidden = block.dataset.metric !== name;
      filter();
    }));
  }
  for (const axis of unique(grids.flatMap((grid) => [...grid.labels.map((label) => label.axis), ...grid.axes]))) {
    if (axis === "metric") continue;
    const values = unique(grids.flatMap((grid) => valuesOf(grid, axis)));
    if (values.length < 2) continue;
    left.set(axis, new Set());
    const summary = make("summary", { textContent: `${axis}: all` });
    const boxes = values.map((value) => make("input", { type: "checkbox", checked: true, value }));
    const change = () => {
      left.set(axis, new Set(boxes.filter((box) => !box.checked).map((box) => box.value)));
      const out = left.get(axis).size;
      summary.textContent = out ? `${axis}: ${values.length - out} of ${values.length}` : `${axis}: all`;
      filter();
    };
    const all = make("button", { type: "button", textContent: "all" });
    const none = make("button", { type: "button", textContent: "none" });
    for (const [button, checked] of [[all, true], [none, false]]) {
      button.addEventListener("click", () => { for (const box of boxes) box.checked = checked; change(); });
    }
    for (const box of boxes) box.addEventListener("change", change);
    const list = make("fieldset", {}, make("legend", { className: "far", textContent: `Shown of ${axis}` }), all, " ", none,
      ...boxes.map((box) => make("label", {}, box, ` ${box.value}`)));
    const menu = make("details", { className: "filter" }, summary, list);
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) { menu.open = false; summary.focus(); }
    });
    controls.append(menu);
  }
  document.addEventListener("click", (event) => { // a menu closes when one clicks beside it
    for (const menu of controls.querySelectorAll("details[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  controls.append(count);
  holder.before(controls);
  filter();

  // ---- figures

  for (const section of document.querySelectorAll("section")) {
    const place = section.querySelector(".choices");
    if (!place) continue;
    const bar = make("div", { className: "controls" });
    const figures = [...section.querySelectorAll("figure[data-choices]")]
      .map((element) => ({ element, values: JSON.parse(element.dataset.choices) }));
    const chosen = {};
    const none = make("p", { textContent: "There is no figure of this choice.", hidden: true });
    const show = () => {
      for (const { element, values } of figures) {
        element.hidden = Object.entries(values).some(([name, value]) => chosen[name] !== value);
      }
      none.hidden = !figures.length || figures.some(({ element }) => !element.hidden);
    };
    for (const name of unique(figures.flatMap(({ values }) => Object.keys(values)))) {
      const values = unique(figures.map((figure) => figure.values[name]).filter((value) => value !== undefined));
      chosen[name] = values[0];
      if (values.length > 1) bar.append(select(name, values, (value) => { chosen[name] = value; show(); }));
    }
    show();
    if (section.querySelector(".single")) {
      const box = make("input", { type: "checkbox" });
      box.addEventListener("change", () => section.classList.toggle("show-singles", box.checked));
      bar.append(make("label", {}, box, " each seed, without bands"));
    }
    if (bar.children.length) place.append(bar, none);
  }
})();
