/* What every chart has around it: buttons for its figures as a table and as CSV, and a redraw where its width changes. */
/** What is drawn anew leaves the keyboard where it was: at what has the same `data-focus`, else at the same place in
    the order, else at what holds it. */
function keepingFocus(place, act) {
  const reached = () => [...place.querySelectorAll("button, select, input, a[href], [tabindex]")].filter((one) => one.tabIndex >= 0);
  const held = place.contains(document.activeElement) && document.activeElement !== place ? document.activeElement : null;
  const name = held && held.dataset.focus, at = held ? reached().indexOf(held) : -1;
  act();
  if (!held || held.isConnected) return;
  const now = reached(), again = name ? now.find((one) => one.dataset.focus === name) : now[Math.min(at, now.length - 1)];
  if (again) return again.focus({ preventScroll: true });
  const holder = held.dataset.focus && place.querySelector(".virtual") || place.closest("[tabindex]") || place;
  if (!holder.hasAttribute("tabindex")) holder.tabIndex = -1;
  holder.focus({ preventScroll: true });
}

/** Pixels: in less there is nothing to draw, and a layout that is not done yet has less. */
const NARROWEST = 120;

/** A chart's place on the page. `draw` is called with the plot's element and its width, at once and on every change. */
function figure(key, draw, table = null) {
  const element = document.getElementById(key), block = report.charts[key];
  const plot = element.querySelector(".plot"), controls = element.querySelector(".controls");
  const figures = table || (() => ({ columns: block.columns, rows: block.rows }));
  const asTable = element.querySelector(".as-table");
  const button = make("button", { type: "button", class: "tool push", "aria-pressed": "false", onclick: () => {
    asTable.hidden = !asTable.hidden;
    button.setAttribute("aria-pressed", String(!asTable.hidden));
    refill();
  } }, "Table");
  /** An open table says what the chart says now. */
  const refill = () => { if (!asTable.hidden) fillTable(asTable, figures(), block.title); };
  const download = make("button", { type: "button", class: "tool", onclick: () => saveCsv(`${key}.csv`, figures()) }, "CSV");
  controls.append(button, download);
  button.setAttribute("aria-label", `${block.title} as a table`);
  download.setAttribute("aria-label", `${block.title} as CSV`);
  let width = 0;
  const redraw = () => {
    width = plot.clientWidth;
    if (width >= NARROWEST) { plot.classList.add("drawn"); keepingFocus(plot, () => draw(plot, width)); }
    refill();
  };
  new ResizeObserver(() => { if (Math.abs(plot.clientWidth - width) > 1) redraw(); }).observe(plot);
  return { element, block, plot, controls, redraw, refill };
}

/** Most rows that are shown as a table; all of them are in the CSV. */
const TABLE_ROWS = 300;
function fillTable(place, { columns: names, rows }, title) {
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, String(name))));
  const body = rows.slice(0, TABLE_ROWS).map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, known(cell) ? String(cell) : ""))));
  const from = place.scrollTop;
  place.replaceChildren(make("table", { "aria-label": title }, make("thead", {}, head), make("tbody", {}, ...body)));
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", `${title} as a table`);
  place.scrollTop = from;
  if (rows.length > TABLE_ROWS) place.append(make("p", { class: "note" }, `The first ${TABLE_ROWS} of ${rows.length.toLocaleString("en")} rows; the CSV has all.`));
}

/** One cell of CSV: quoted where it must be, and no text that a spreadsheet would run as a formula. */
function csvCell(value) {
  if (!known(value)) return "";
  let text = String(value);
  if (typeof value !== "number" && /^[=+@\t\r-]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?%?$/i.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
const csvText = ({ columns: names, rows }) => [names, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
function saveCsv(name, figures) {
  const url = URL.createObjectURL(new Blob(["\ufeff", csvText(figures)], { type: "text/csv" }));
  const link = make("a", { href: url, download: `${report.run.name.replace(/[^\w.-]+/g, "_")}-${name}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** A button of a chart's own. */
function tool(controls, text, act, attributes = {}) {
  const button = make("button", { type: "button", class: "tool", onclick: act, ...attributes }, text);
  controls.insertBefore(button, controls.querySelector(".push"));
  return button;
}
/** One of several, as a list to choose from. */
function choose(controls, label, options, act) {
  const list = make("select", { onchange: () => act(list.value) }, ...options.map(([value, text]) => make("option", { value }, text)));
  controls.insertBefore(make("label", {}, label, list), controls.querySelector(".push"));
  return list;
}
