/* The page as a whole: tables that sort, numbers that select, the theme, then every chart in its order. */
const compare = (a, b) => { const [x, y] = [Number(a), Number(b)]; return Number.isNaN(x) || Number.isNaN(y) ? String(a).localeCompare(String(b)) : x - y; };
const cellKey = (row, column) => { const cell = row.cells[column]; return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v; };
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const button of table.querySelectorAll("th button")) button.addEventListener("click", () => {
    const head = button.parentElement, column = head.cellIndex, direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [cellKey(row, column), row]);
    // What was not measured stays last in both directions.
    rows.sort(([a], [b]) => (a === "") - (b === "") || direction * compare(a, b));
    body.append(...rows.map(([, row]) => row));
  });
}

for (const button of document.querySelectorAll(".pick[data-trial]")) button.addEventListener("click", () => { const i = placeOf.get(Number(button.dataset.trial)); if (known(i)) toggle(i); });
when("selected", () => {
  const numbers = new Set(state.selected.map((i) => String(of("number", i))));
  for (const row of document.querySelectorAll("tr[data-trial]")) row.classList.toggle("chosen", numbers.has(row.dataset.trial));
  for (const button of document.querySelectorAll(".pick[data-trial]")) button.setAttribute("aria-pressed", String(numbers.has(button.dataset.trial)));
});

for (const button of document.querySelectorAll("button.copy")) {
  // Without a clipboard the text is still there to be selected.
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
}

const themes = { "": "as the system", light: "light", dark: "dark" }, themeButton = document.getElementById("theme");
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  const names = Object.keys(themes), next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  themeButton.textContent = `Theme: ${themes[next]}`;
  tell("theme");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));

const charts = { front: frontChart, network: networkChart, effects: effectsChart, forest: forestChart, lines: linesChart, timeline: timelineChart, parallel: parallelChart, trials: trialsTable };
shortlist();
filters();
for (const place of document.querySelectorAll("figure[data-draws]")) charts[place.dataset.draws](place.id);
requestAnimationFrame(() => requestAnimationFrame(() => { performance.mark("all-drawn"); document.documentElement.dataset.drawn = "1"; }));
