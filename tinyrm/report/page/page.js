// Draws the charts when they come near the screen, makes tables and downloads from the same rows. Texts go into text
// nodes only.
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const charts = new Map(data.charts.map((chart) => [chart.id, chart]));
const views = new Map();
const chosen = {}; // value of each control: "measure", or "curve@curves"
const CANVAS_FROM = 4000; // rows from which SVG is slow

// --- light and dark

const remembered = (() => { try { return localStorage.getItem("tinyrm-theme"); } catch { return null; } })();
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");

function setTheme(theme) {
  root.dataset.theme = theme;
  themeButton.textContent = theme === "dark" ? "Light" : "Dark";
  themeButton.setAttribute("aria-pressed", String(theme === "dark"));
  for (const id of views.keys()) draw(id);
}

themeButton.addEventListener("click", () => {
  const theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("tinyrm-theme", theme); } catch { /* a page from disk may have none */ }
  setTheme(theme);
});
prefersDark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));

const narrow = () => window.innerWidth < 600;

function look() {
  const style = getComputedStyle(root);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const dark = root.dataset.theme === "dark";
  return {
    background: "transparent",
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    view: { stroke: null },
    axisQuantitative: { tickCount: 6 },
    axis: { labelLimit: narrow() ? 150 : 280, labelColor: of("dim"), titleColor: of("dim"), gridColor: of("line"), domainColor: of("line"), tickColor: of("line"), titleFontWeight: "normal", labelFontSize: narrow() ? 11 : 12, titleFontSize: 12 },
    legend: { columns: narrow() ? 1 : 3, labelLimit: narrow() ? 230 : 320, labelColor: of("ink"), titleColor: of("dim"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", symbolSize: 90 },
    title: { color: of("ink") },
    text: { color: of("ink"), fill: of("ink") },
    rule: { color: of("dim") },
    tick: { color: of("ink") },
    point: { color: of("accent") },
    line: { color: of("accent") },
    bar: { color: of("accent") },
    range: {
      category: dark
        ? ["#6ea8ff", "#ffb454", "#5fd0a5", "#ff8fa3", "#c3a6ff", "#8bd3ff", "#e6d36a", "#b0b8c1"]
        : ["#1f5fbf", "#d9730d", "#178a63", "#c2375a", "#7a4fc4", "#2191b5", "#8a7a10", "#6b7680"],
      diverging: dark ? ["#e08a3c", "#2a313a", "#5b9bf5"] : ["#c9640a", "#f6f7f9", "#2467c9"],
      ramp: dark ? ["#a9d1ff", "#6ea8ff", "#4a6a94", "#3d4753"] : ["#0b3d91", "#3f7fd6", "#a9c7ee", "#d9e2ec"],
    },
  };
}

// --- charts

function rowsOf(table) {
  if (!table.objects) table.objects = table.rows.map((row) => Object.fromEntries(table.keys.map((key, i) => [key, row[i]])));
  return table.objects;
}

// On a narrow screen the names beside a chart are broken into lines, so that what tells arms apart is not cut off.
const LINE = 22; // letters
const BROKEN = `split(trim(replace(datum.label, regexp('(.{1,${LINE}})( |$)', 'g'), '$1\\n')), '\\n')`;

function brokenLabels(part) {
  if (Array.isArray(part)) return part.map(brokenLabels);
  if (part === null || typeof part !== "object") return part;
  const copy = Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, brokenLabels(inner)]));
  const y = part.encoding?.y;
  if (y?.type === "nominal" && y.axis !== null) copy.encoding.y = { ...y, axis: { ...y.axis, labelExpr: BROKEN, labelLineHeight: 12 } };
  return copy;
}

function fitted(spec, rows) {
  if (!narrow()) return spec;
  const longest = Math.max(0, ...rows.map((row) => String(row.label ?? "").length));
  const taller = Math.max(1, Math.ceil(longest / LINE) / 2); // a row has room for two lines
  return { ...brokenLabels(spec), ...(typeof spec.height === "number" && { height: spec.height * taller }) };
}

function value(control, id) {
  return chosen[`${control}@${id}`] ?? chosen[control];
}

async function draw(id) {
  const chart = charts.get(id);
  const place = document.querySelector(`#${CSS.escape(id)} .plot`);
  const spec = { ...fitted(chart.spec, rowsOf(chart)), datasets: { rows: rowsOf(chart).map((row) => ({ ...row })) } };
  spec.params = (spec.params ?? []).map((param) => {
    const now = value(param.name, id);
    return now === undefined ? param : { ...param, value: now };
  });
  views.set(id, views.get(id) ?? null);
  const renderer = chart.rows.length > CANVAS_FROM ? "canvas" : "svg";
  const result = await window.vegaEmbed(place, spec, { actions: false, renderer, config: look(), tooltip: { theme: root.dataset.theme } });
  views.set(id, result.view);
  place.parentElement.dataset.drawn = "true";
}

function setControl(name, id, now) {
  chosen[id ? `${name}@${id}` : name] = now;
  for (const [other, view] of views) {
    const chart = charts.get(other);
    if (view && chart.controls.includes(name) && (!id || id === other)) view.signal(name, now).runAsync();
  }
}

const LABELS = { trained_parameters: "trained parameters", train_seconds: "seconds of training", pairs_per_second: "pairs a second", dev_accuracy: "dev accuracy", test_accuracy: "test accuracy" };

for (const control of document.querySelectorAll("[data-control]")) {
  const { control: name, chart: id } = control.dataset;
  if (control.tagName === "SELECT") {
    const own = id ? [charts.get(id)] : data.charts.filter((chart) => chart.controls.includes(name));
    const options = new Set(own.flatMap((chart) => rowsOf(chart).map((row) => row[name])));
    for (const option of options) control.add(new Option(LABELS[option] ?? option, option));
    chosen[id ? `${name}@${id}` : name] = control.value;
    control.addEventListener("change", () => setControl(name, id, control.value));
  } else {
    control.addEventListener("input", () => setControl(name, id, Number(control.value)));
  }
}

// --- tables and downloads

function shown(cell, kind) {
  if (cell === null || cell === undefined) return "-";
  if (typeof cell !== "number") return String(cell);
  if (kind === "share") return `${(100 * cell).toFixed(1)}%`;
  if (kind === "p") return cell < 1e-4 ? "< 0.0001" : cell.toPrecision(2);
  if (kind === "count") return cell.toLocaleString("en");
  return Math.abs(cell) >= 1000 ? Math.round(cell).toLocaleString("en") : String(Number(cell.toPrecision(4)));
}

function tableOf(table) {
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const [, label, kind] of table.columns) {
    const cell = document.createElement("th");
    cell.textContent = label;
    if (kind !== "text") cell.className = "n";
    head.append(cell);
  }
  const body = element.createTBody();
  for (const row of rowsOf(table)) {
    const line = body.insertRow();
    for (const [key, , kind] of table.columns) {
      const cell = line.insertCell();
      cell.textContent = shown(row[key], kind);
      if (kind !== "text") cell.className = "n";
    }
  }
  return element;
}

function csvCell(cell) {
  const text = cell === null || cell === undefined ? "" : String(cell);
  const safe = typeof cell === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // no formulas
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvOf(table) {
  const lines = [table.columns.map(([, label]) => csvCell(label)).join(",")];
  for (const row of rowsOf(table)) lines.push(table.columns.map(([key]) => csvCell(row[key])).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

function save(name, href) {
  const link = document.createElement("a");
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.href = href;
  link.click();
}

function saveText(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

for (const figure of document.querySelectorAll("figure.chart")) {
  const chart = charts.get(figure.id);
  figure.querySelector(".tools").addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    const action = button?.dataset.do;
    if (!action) return;
    if (action === "table") {
      const place = figure.querySelector(".table");
      if (!place.firstChild) place.append(tableOf(chart));
      place.hidden = !place.hidden;
      button.setAttribute("aria-expanded", String(!place.hidden));
    } else if (action === "csv") {
      saveText(`${data.name}-${chart.id}.csv`, csvOf(chart));
    } else {
      if (!views.get(chart.id)) await draw(chart.id);
      save(`${data.name}-${chart.id}.${action}`, await views.get(chart.id).toImageURL(action, action === "png" ? 2 : 1));
    }
  });
}

for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.download;
    const table = name === "ranking" ? charts.get("ranking") : data.tables[name];
    saveText(`${data.name}-${name}.csv`, csvOf(table));
  });
}

document.getElementById("trials")?.addEventListener("toggle", (event) => {
  const place = event.target.querySelector(".table");
  if (!place.firstChild) place.append(tableOf(data.tables.trials));
});

for (const block of document.querySelectorAll("pre.command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  const text = block.textContent;
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { getSelection().selectAllChildren(block); }
  });
  block.prepend(button);
}

// --- the ranking

const ranking = document.getElementById("ranking-table");
if (ranking) {
  const body = ranking.tBodies[0];
  const lines = [...body.rows];
  const find = document.getElementById("find");
  const all = document.getElementById("all");
  const FIRST = 25;
  let whole = false;

  function filter() {
    const wanted = find.value.trim().toLowerCase().split(/\s+/);
    const fitting = [...body.rows].filter((line) => wanted.every((word) => line.cells[1].textContent.toLowerCase().includes(word)));
    const visible = new Set(whole ? fitting : fitting.slice(0, FIRST));
    for (const line of lines) line.hidden = !visible.has(line);
    document.getElementById("found").textContent = `${visible.size} of ${lines.length} arms`;
    all.hidden = fitting.length <= FIRST;
  }

  find.addEventListener("input", filter);
  all.addEventListener("click", () => {
    whole = !whole;
    all.textContent = whole ? "Show fewer" : "Show all";
    all.setAttribute("aria-expanded", String(whole));
    filter();
  });
  for (const head of ranking.tHead.rows[0].cells) {
    head.addEventListener("click", () => {
      const column = head.cellIndex;
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of ranking.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (line) => {
        const cell = line.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : cell.dataset.value === "" ? null : Number(cell.dataset.value);
      };
      lines.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last
        const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
        return down ? -order : order;
      });
      body.append(...lines);
      filter();
    });
  }
  filter();
}

// --- begin

setTheme(remembered ?? (prefersDark.matches ? "dark" : "light"));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    draw(entry.target.id);
  }
}, { rootMargin: "500px" });
for (const figure of document.querySelectorAll("figure.chart")) watcher.observe(figure);
window.addEventListener("beforeprint", () => { for (const id of charts.keys()) if (!views.get(id)) draw(id); });
root.dataset.ready = "true";
