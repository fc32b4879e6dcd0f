"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

// ---- light and dark

const theme = one("#theme");
const remember = (value) => { try { localStorage.setItem("unet-bench-theme", value); } catch { /* not allowed here */ } };
const remembered = () => { try { return localStorage.getItem("unet-bench-theme"); } catch { return null; } };
if (remembered()) document.documentElement.dataset.theme = remembered();
theme.hidden = false;
theme.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  remember(document.documentElement.dataset.theme);
});

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
}
addEventListener("hashchange", reveal);
reveal();

// ---- the table

const table = one("#results");
if (table) {
  const heads = all("thead th", table);
  const bodies = all("tbody", table);
  const rows = bodies.flatMap((body) => all("tr:not(.setting)", body));
  const style = one("#columns");
  one(".table-controls").hidden = false;
  for (const row of rows) row.words = row.textContent.toLowerCase();

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
    const wanted = one("#filter").value.toLowerCase().trim();
    const group = one("#group")?.value ?? "";
    for (const body of bodies) body.hidden = Boolean(group) && body.id !== group;
    for (const row of rows) row.hidden = !row.words.includes(wanted);
    const left = rows.filter((row) => !row.hidden && !row.parentElement.hidden).length;
    one("#count").textContent = left === rows.length ? `${rows.length} rows` : `${left} of ${rows.length} rows`;
  }
  one("#filter").addEventListener("input", filter);
  one("#group")?.addEventListener("change", filter);
  filter();

  for (const box of all(".picker input")) box.addEventListener("change", () => {
    const hidden = all(".picker input").filter((other) => !other.checked);
    style.textContent = hidden.map((other) => `#results :is(th, td):nth-child(${Number(other.value) + 2}) { display: none }`).join("\n");
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape") one(".picker").open = false; });
  addEventListener("click", (event) => { if (!event.target.closest(".picker")) one(".picker").open = false; });

  // Another baseline: figures over the chosen row's of the same setting. Both intervals count, on the logarithm.
  const digits = (x) => Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3);
  function relative(own, base) {
    const read = (cell, name) => cell.dataset[name] === undefined ? NaN : Number(cell.dataset[name]);
    const ratio = read(own, "v") / read(base, "v");
    if (!(ratio > 0) || !Number.isFinite(ratio)) return null;
    const reach = (cell, end) => Math.log(read(cell, end) / read(cell, "v"));
    const up = Math.hypot(reach(own, "h"), reach(base, "l")), down = Math.hypot(reach(own, "l"), reach(base, "h"));
    const half = Math.max(ratio * Math.expm1(up), -ratio * Math.expm1(-down));
    return { ratio, text: own === base ? "1" : `${digits(ratio)}×${half > 0 ? ` ±${half.toPrecision(2)}` : ""}` };
  }
  one("#baseline").addEventListener("change", ({ target }) => {
    const chosen = target.selectedIndex ? target.value : null;
    one("#switched").hidden = chosen === null;
    const columns = heads.map((head, index) => [head, index]).filter(([head]) => "relative" in head.dataset);
    for (const body of bodies) {
      const own = all("tr:not(.setting)", body);
      const base = own.find((row) => row.dataset.variant === chosen);
      for (const row of own) for (const [, index] of columns) {
        const cell = row.children[index];
        cell.dataset.text ??= cell.textContent;
        delete cell.dataset.n;
        if (chosen === null) { cell.textContent = cell.dataset.text; continue; }
        const found = base && relative(cell, base.children[index]);
        cell.textContent = found ? found.text : "–";
        if (found) cell.dataset.n = found.ratio;
      }
    }
  });

  // A spreadsheet takes text that begins like a formula for one: an apostrophe keeps it text.
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  one("#csv").addEventListener("click", ({ target }) => {
    const columns = heads.map((_, index) => index).filter((index) => index === 0 || shown(index));
    const title = (index) => heads[index].dataset.name ?? heads[index].textContent.trim();
    const ends = (index) => rows.some((row) => row.children[index].dataset.l !== undefined) ? ["_ci_low", "_ci_high"] : [];
    const lines = [["setting", ...columns.flatMap((index) => [title(index), ...ends(index).map((end) => title(index) + end)])].map(quoted)];
    for (const row of rows.filter((row) => !row.hidden && !row.parentElement.hidden)) {
      lines.push([quoted(row.parentElement.dataset.label), ...columns.flatMap((index) => {
        const cell = row.children[index];
        if (index === 0) return [quoted(row.dataset.variant)];
        if (!("name" in heads[index].dataset)) return [quoted(cell.textContent)];
        return [cell.dataset.v ?? "", ...(ends(index).length ? [cell.dataset.l ?? "", cell.dataset.h ?? ""] : [])];
      })]);
    }
    copy(lines.map((line) => line.join(",")).join("\n") + "\n", target);
  });
}

// ---- plots

const options = {
  responsive: true, displaylogo: false,
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
  for (const { text, y } of view.layout.annotations ?? []) { // floors, above their line at the right
    taken.push([xaxis._length - text.length * 6.4, yaxis.d2p(y) - 17, xaxis._length, yaxis.d2p(y)]);
  }
  const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const placed = [];
  for (const label of view.labels) {
    const [x, y] = at(label), width = label.text.length * 6.4 + 4;
    const spots = [[8, -14], [8, 14], [-8, -14], [-8, 14], [8, -28], [-8, -28], [8, 28], [-8, 28]];
    for (const [dx, dy] of spots) {
      const left = dx > 0 ? x + dx : x + dx - width;
      const box = [left, y + dy - 8, left + width, y + dy + 8];
      const inside = box[0] >= 0 && box[2] <= xaxis._length && box[1] >= 0 && box[3] <= yaxis._length;
      if (!inside || taken.some((other) => meets(box, other))) continue;
      taken.push(box);
      placed.push({
        text: label.text, x: xaxis.type === "log" ? Math.log10(label.x) : label.x, y: label.y, showarrow: false,
        xanchor: dx > 0 ? "left" : "right", xshift: dx, yshift: -dy, font: { size: 11.5 },
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

async function draw(figure, views) {
  const canvas = one(".canvas", figure), view = picked(figure, views);
  canvas.style.height = `${view.layout.height}px`;
  canvas.setAttribute("aria-label", view.words.slice(0, 1200));
  const layout = structuredClone(view.layout);
  if (canvas.clientWidth < 560) fitted(layout);
  await Plotly.react(canvas, view.data, layout, options);
  const label = () => { if (view.labels.length) Plotly.relayout(canvas, { annotations: named(canvas, view) }); };
  canvas.removeAllListeners("plotly_relayout");
  canvas.removeAllListeners("plotly_click");
  canvas.on("plotly_relayout", (change) => { if (!("annotations" in change)) label(); });
  canvas.on("plotly_click", ({ points }) => { if (points[0].customdata) location.hash = `#${points[0].customdata}`; });
  label();
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

async function plots() {
  const figures = all(".plot");
  if (!figures.length) return;
  const script = document.createElement("script");
  script.textContent = await inflated(one("#plotly"));
  document.head.append(script);
  for (const figure of figures) {
    const views = JSON.parse(await inflated(one("script", figure)));
    const labels = one("[data-pick=label]", figure);
    one("[data-pick=group]", figure).addEventListener("change", ({ target }) => {
      const before = labels.value;
      labels.replaceChildren(...views.filter((view) => view.group === target.value).map((view) => new Option(view.label)));
      if ([...labels.options].some((option) => option.value === before)) labels.value = before;
      draw(figure, views);
    });
    labels.addEventListener("change", () => draw(figure, views));
    await draw(figure, views);
    await new Promise((resolve) => setTimeout(resolve));
  }
  document.documentElement.dataset.ready = "yes";
}
addEventListener("load", () => setTimeout(() => plots().catch((error) => {
  for (const canvas of all(".canvas:not([data-drawn])")) canvas.textContent = `This plot could not be drawn: ${error}. Its figures are in the table.`;
})));

// ---- print: everything open, plots as wide as the paper

addEventListener("beforeprint", () => {
  for (const closed of all("details:not([open])")) { closed.open = true; closed.dataset.closed = "yes"; }
  for (const canvas of all(".canvas[data-drawn]")) Plotly.relayout(canvas, { width: 680 });
});
addEventListener("afterprint", () => {
  for (const closed of all("details[data-closed]")) { closed.open = false; delete closed.dataset.closed; }
  for (const canvas of all(".canvas[data-drawn]")) Plotly.relayout(canvas, { width: null, autosize: true });
});
