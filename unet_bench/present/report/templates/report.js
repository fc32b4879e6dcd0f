"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

// ---- light and dark

const theme = one("#theme");
const remember = (value) => { try { localStorage.setItem("unet-bench-theme", value); } catch { /* not allowed here */ } };
const remembered = () => { try { return localStorage.getItem("unet-bench-theme"); } catch { return null; } };
if (remembered()) document.documentElement.dataset.theme = remembered();
const darkness = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (document.documentElement.dataset.theme || (darkness.matches ? "dark" : "light")) === "dark";
const drawn = new Map(); // by figure, how to draw it again
const redrawn = () => { for (const again of drawn.values()) again(); };
theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  remember(document.documentElement.dataset.theme);
  redrawn();
});
darkness.addEventListener("change", redrawn);

// ---- copying

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from a file may not, in some browsers
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const label = button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}
for (const button of all("[data-copy]")) {
  button.addEventListener("click", () => copy(button.previousElementSibling.textContent, button));
}

// ---- a link into a closed section opens it

function reveal() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
  if (target.matches("details")) one("summary", target).focus({ preventScroll: true });
}
function go(hash) { // where one has been before, too
  if (location.hash === hash) reveal(); else location.hash = hash;
}
addEventListener("hashchange", reveal);
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (link && link.getAttribute("href") === location.hash) setTimeout(reveal);
});
reveal();

// ---- the table

const table = one("#results");
if (table) {
  const heads = all("thead th", table);
  const bodies = all("tbody", table);
  const rows = bodies.flatMap((body) => all("tr:not(.setting)", body));
  const style = one("#columns");
  one(".table-controls").hidden = false;
  for (const row of rows) row.words = `${row.dataset.variant} ${row.textContent}`.toLowerCase();

  const shown = (index) => !one(`.picker input[value="${index - 1}"]`) || one(`.picker input[value="${index - 1}"]`).checked;

  // Sorting is within a setting; what has no figure comes last, either way.
  const key = (row, index) => {
    const cell = row.children[index];
    if (index === 0 || cell.classList.contains("state")) return cell.textContent.trim().toLowerCase();
    return cell.dataset.n ?? cell.dataset.v ?? null;
  };
  heads.forEach((head, index) => one("button", head).addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" || (head.getAttribute("aria-sort") === "none" && "name" in head.dataset);
    const order = head.getAttribute("aria-sort") === "descending" ? "ascending" : down ? "descending" : "ascending";
    for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
    const sign = order === "ascending" ? 1 : -1;
    const number = "name" in head.dataset;
    for (const body of bodies) {
      const keyed = all("tr:not(.setting)", body).map((row) => [key(row, index), row]);
      keyed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (number ? a - b : a.localeCompare(b));
      });
      body.append(...keyed.map(([, row]) => row));
    }
  }));

  function filter() {
    const wanted = one("#filter").value.toLowerCase().split(/\s+/);
    const group = one("#group")?.value ?? "";
    for (const body of bodies) body.hidden = Boolean(group) && body.id !== group;
    for (const row of rows) row.hidden = !wanted.every((word) => row.words.includes(word));
    const left = rows.filter((row) => !row.hidden && !row.parentElement.hidden).length;
    const every = `${rows.length} row${rows.length === 1 ? "" : "s"}`;
    one("#count").textContent = left === rows.length ? every : left ? `${left} of ${every}` : "no row matches";
    one("#none").hidden = left > 0;
    for (const body of bodies) one(".setting", body).hidden = all("tr:not(.setting)", body).every((row) => row.hidden);
  }
  one("#filter").addEventListener("input", filter);
  one("#group")?.addEventListener("change", filter);
  filter();

  for (const box of all(".picker input")) box.addEventListener("change", () => {
    const hidden = all(".picker input").filter((other) => !other.checked);
    style.textContent = hidden.map((other) => `#results :is(th, td):nth-child(${Number(other.value) + 2}) { display: none }`).join("\n");
  });
  addEventListener("keydown", (event) => { 
    if (event.key !== "Escape" || !one(".picker").open) return;
    one(".picker").open = false;
    one(".picker summary").focus();
  });
  addEventListener("click", (event) => { if (!event.target.closest(".picker")) one(".picker").open = false; });

  // Another baseline: figures over the chosen row's of the same setting. Both intervals count, on the logarithm; a
  // ratio that is to the chosen row anyway is as it was measured.
  const digits = (x) => Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3);
  function relative(own, base, measured) {
    const read = (cell, name) => cell.dataset[name] === undefined ? NaN : Number(cell.dataset[name]);
    const ratio = read(own, "v") / (measured ? 1 : read(base, "v"));
    if (!(ratio > 0) || !Number.isFinite(ratio)) return null;
    const reach = (cell, end) => measured && cell === base ? 0 : Math.log(read(cell, end) / read(cell, "v"));
    const up = Math.hypot(reach(own, "h"), reach(base, "l")), down = Math.hypot(reach(own, "l"), reach(base, "h"));
    const half = Math.max(ratio * Math.expm1(up), -ratio * Math.expm1(-down)); // the longer side, as elsewhere
    if (own === base) return { ratio, text: "1" };
    const ends = half > 0 ? { low: ratio * Math.exp(-Math.abs(down)), high: ratio * Math.exp(Math.abs(up)) } : {};
    return { ratio, ...ends, text: `${digits(ratio)}×${half > 0 ? ` ±${half.toPrecision(2)}` : ""}` };
  }
  one("#baseline").addEventListener("change", ({ target }) => {
    const chosen = target.selectedIndex ? target.value : null;
    const title = target.selectedOptions[0].textContent;
    one("#switched").textContent = chosen === null ? "" : one("#switched").dataset.said.replace("{}", () => title);
    for (const head of heads.filter((head) => "bare" in head.dataset)) {
      const button = one("button", head);
      button.dataset.label ??= button.textContent;
      button.textContent = chosen === null ? button.dataset.label : head.dataset.bare + ("relative" in head.dataset ? ` ÷ ${title}` : "");
    }
    for (const row of rows) {
      one(".tag.divisor", row)?.remove();
      row.classList.toggle("chosen", row.dataset.variant === chosen);
      if (row.dataset.variant === chosen) row.children[0].append(" ", Object.assign(document.createElement("span"), { className: "tag divisor", textContent: "÷" }));
    }
    const place = (name) => heads.findIndex((head) => head.dataset.name === name);
    const columns = heads.map((head, index) => [head, index]).filter(([head]) => "relative" in head.dataset);
    for (const body of bodies) {
      const own = all("tr:not(.setting)", body);
      const base = own.find((row) => row.dataset.variant === chosen);
      for (const row of own) for (const [head, index] of columns) {
        const cell = row.children[index];
        cell.dataset.text ??= cell.textContent;
        for (const name of ["n", "nl", "nh"]) delete cell.dataset[name];
        if (chosen === null) { cell.textContent = cell.dataset.text; continue; }
        const paired = "paired" in head.dataset ? place(head.dataset.paired) : -1;
        const has = (row) => paired > 0 && row.children[paired].dataset.v !== undefined;
        const from = base && has(row) && has(base) ? paired : index;
        const found = base && relative(row.children[from], base.children[from], base.classList.contains("baseline") && heads[from].dataset.name.endsWith("_ratio"));
        cell.textContent = found ? found.text : "–";
        if (found) Object.assign(cell.dataset, { n: found.ratio, ...(found.low ? { nl: found.low, nh: found.high } : {}) });
      }
    }
  });

  // A spreadsheet takes text that begins like a formula for one: an apostrophe keeps it text.
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  one("#csv").addEventListener("click", ({ target }) => {
    const columns = heads.map((_, index) => index).filter((index) => index === 0 || shown(index));
    const chosen = one("#baseline").selectedIndex ? one("#baseline").value : null;
    const divided = (index) => chosen !== null && "relative" in heads[index].dataset;
    const title = (index) => (heads[index].dataset.name ?? heads[index].textContent.trim()) + (divided(index) ? ` ÷ ${chosen}` : "");
    const keys = (index) => divided(index) ? ["n", "nl", "nh"] : ["v", "l", "h"];
    const some = (index, key) => rows.some((row) => row.children[index].dataset[key] !== undefined);
    const ends = (index) => some(index, keys(index)[1]) ? ["_ci_low", "_ci_high"] : [];
    const verdict = (index) => some(index, "verdict") ? [heads[index].dataset.verdict] : [];
    const lines = [["setting", ...columns.flatMap((index) => [title(index), ...ends(index).map((end) => title(index) + end), ...verdict(index)])].map(quoted)];
    for (const row of rows.filter((row) => !row.hidden && !row.parentElement.hidden)) {
      lines.push([quoted(row.parentElement.dataset.label), ...columns.flatMap((index) => {
        const cell = row.children[index];
        if (index === 0) return [quoted(row.dataset.variant)];
        if (!("name" in heads[index].dataset)) return [quoted(cell.textContent)];
        const [value, low, high] = keys(index).map((key) => cell.dataset[key] ?? "");
        return [value, ...(ends(index).length ? [low, high] : []), ...verdict(index).map(() => quoted(cell.dataset.verdict ?? ""))];
      })]);
    }
    copy(lines.map((line) => line.join(",")).join("\n") + "\n", target);
  });
}

// ---- plots

const coarse = matchMedia("(pointer: coarse)").matches; // a finger scrolls the page, past plots, too
const options = {
  responsive: true, displaylogo: false, scrollZoom: false, displayModeBar: coarse ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

// Names beside points, each where it hides neither another name nor a point; what finds no place is left to hovering.
function named(canvas, view) {
  const { xaxis, yaxis } = canvas._fullLayout;
  const at = ({ x, y }) => [xaxis.d2p(x), yaxis.d2p(y)];
  const taken = view.data.filter((trace) => trace.mode === "markers").flatMap((trace) => trace.x.map((x, i) => {
    const [px, py] = at({ x, y: trace.y[i] });
    return [px - 5, py - 5, px + 5, py + 5];
  }));
  for (const { text, y } of view.layout.annotations ?? []) { // trivial baselines, above their line at the right
    taken.push([xaxis._length - text.length * 6.4, yaxis.d2p(y) - 17, xaxis._length, yaxis.d2p(y)]);
  }
  const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const placed = [];
  for (const label of view.labels) {
    const [x, y] = at(label), width = label.text.length * 6.4 + 4;
    const spots = [14, 28, 44].flatMap((far) => [[8, -far], [8, far], [-8, -far], [-8, far]]);
    for (const [dx, dy] of spots) {
      const left = dx > 0 ? x + dx : x + dx - width;
      const box = [left, y + dy - 8, left + width, y + dy + 8];
      const inside = box[0] >= 0 && box[2] <= xaxis._length && box[1] >= 0 && box[3] <= yaxis._length;
      if (!inside || taken.some((other) => meets(box, other))) continue;
      taken.push(box);
      const far = Math.abs(dy) > 20; // a line leads to its point
      placed.push({
        text: label.text, x: xaxis.type === "log" ? Math.log10(label.x) : label.x, y: label.y,
        xanchor: dx > 0 ? "left" : "right", font: { size: 11.5 },
        ...(far ? { showarrow: true, ax: dx, ay: dy, arrowhead: 0, arrowwidth: 1, arrowcolor: "#7f7f7f", standoff: 6 } : { showarrow: false, xshift: dx, yshift: -dy }),
      });
      break;
    }
  }
  return [...(view.layout.annotations ?? []), ...placed];
}

function picked(figure, views) {
  const group = one("[data-pick=group]", figure).value, label = one("[data-pick=label]", figure).value;
  return views.find((view) => view.group === group && view.label === label) ?? views.find((view) => view.group === group);
}

// On a phone the legend goes below, and what stands at the left is cut short.
function fitted(layout) {
  if (layout.showlegend) {
    layout.legend = { ...layout.legend, orientation: "h", x: 0, y: -60 / (layout.height - 110), yanchor: "top", font: { size: 11 } };
    layout.margin.b += 40;
  }
  if (layout.yaxis.ticktext && layout.yaxis.automargin) {
    const cut = (text) => text.length > 17 ? `${text.slice(0, 16)}…` : text;
    layout.yaxis.ticktext = layout.yaxis.ticktext.map((text) => text.startsWith("<b>") ? `<b>${cut(text.slice(3, -4))}</b>` : cut(text));
    layout.yaxis.tickfont = { size: 11 };
    layout.annotations = (layout.annotations ?? []).filter((note) => note.xanchor === "left" && note.x > 1);
  }
}

// On dark paper blue is lighter, and what was that blue is yellow.
function lit(view) {
  const lighter = [["#56B4E9", "#F0E442"], ["#0072B2", "#56B4E9"], ["rgba(0, 114, 178", "rgba(86, 180, 233"], ["rgba(86, 180, 233, 0.75)", "rgba(86, 180, 233, 0.9)"]];
  return dark() ? JSON.parse(lighter.reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(view))) : view;
}

async function draw(figure, views) {
  const canvas = one(".canvas", figure), view = lit(picked(figure, views));
  one(".note", figure).textContent = view.note;
  canvas.style.height = `${view.layout.height}px`;
  canvas.setAttribute("aria-label", view.words.slice(0, 1200));
  const layout = structuredClone(view.layout);
  if (canvas.clientWidth < 560) fitted(layout);
  if (coarse) {
    layout.dragmode = false;
    layout.xaxis.fixedrange = layout.yaxis.fixedrange = true;
  }
  await Plotly.react(canvas, view.data, layout, options);
  const label = () => { if (view.labels.length) Plotly.relayout(canvas, { annotations: named(canvas, view) }); };
  canvas.removeAllListeners("plotly_relayout");
  canvas.removeAllListeners("plotly_click");
  canvas.on("plotly_relayout", (change) => { if (!("annotations" in change)) label(); });
  canvas.on("plotly_click", ({ points }) => { if (points[0].customdata) go(`#${points[0].customdata}`); });
  label();
  for (const button of all(".modebar-btn", canvas)) button.tabIndex = -1;
  canvas.dataset.drawn = "yes";
}

// Plotly and what it draws are base64 of gzip.
async function inflated(script) {
  const letters = atob(script.textContent), packed = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) packed[i] = letters.charCodeAt(i);
  const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  script.remove();
  return text;
}

// Plotly is inflated and run only once a plot comes near, or when the browser has nothing else to do: the table never
// waits for it.
let plotly;
const loaded = () => plotly ??= (async () => {
  const script = document.createElement("script");
  script.textContent = await inflated(one("#plotly"));
  document.head.append(script);
})();

const started = new Map(); // by figure, when it will have been drawn
const start = (figure) => started.get(figure) ?? started.set(figure, begun(figure).catch((error) => {
  one(".canvas", figure).textContent = `This plot could not be drawn: ${error}. Its figures are in the table.`;
})).get(figure);

async function begun(figure) {
  await loaded();
  const views = JSON.parse(await inflated(one("script", figure)));
  const labels = one("[data-pick=label]", figure), again = () => draw(figure, views);
  one("[data-pick=group]", figure).addEventListener("change", ({ target }) => {
    const before = labels.value;
    labels.replaceChildren(...views.filter((view) => view.group === target.value).map((view) => new Option(view.label)));
    if ([...labels.options].some((option) => option.value === before)) labels.value = before;
    again();
  });
  labels.addEventListener("change", again);
  await again();
  drawn.set(figure, again);
  if (drawn.size === all(".plot").length) document.documentElement.dataset.ready = "yes";
}

const idle = (task) => "requestIdleCallback" in window ? requestIdleCallback(task, { timeout: 4000 }) : setTimeout(task, 400);
async function rest() { // one plot at a time, whenever there is nothing else to do
  const left = all(".plot").filter((figure) => !started.has(figure));
  if (!left.length) return;
  await (plotly ? start(left[0]) : loaded().catch(() => start(left[0])));
  idle(rest);
}
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { near.unobserve(target); start(target); }
}, { rootMargin: "600px" });
for (const figure of all(".plot")) near.observe(figure);
addEventListener("load", () => idle(rest));

// ---- print: everything open, plots as wide as the paper

addEventListener("beforeprint", () => {
  for (const closed of all("details:not([open], .shut)")) { closed.open = true; closed.dataset.closed = "yes"; }
  if (window.Plotly) for (const figure of all(".plot")) start(figure);
  for (const canvas of all(".canvas[data-drawn]")) Plotly.relayout(canvas, { width: 680 });
});
addEventListener("afterprint", () => {
  for (const closed of all("details[data-closed]")) { closed.open = false; delete closed.dataset.closed; }
  for (const canvas of all(".canvas[data-drawn]")) Plotly.relayout(canvas, { width: null, autosize: true });
});
