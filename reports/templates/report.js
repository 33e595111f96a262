"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const touch = matchMedia("(pointer: coarse)").matches;

  /** Show a trial's row: in the front's table, or else among all trials, which is opened for it. */
  const show = (number) => {
    const row = document.getElementById(`front-${number}`) || document.getElementById(`trial-${number}`);
    if (!row) return;
    for (const other of document.querySelectorAll("tr.chosen")) other.classList.remove("chosen");
    row.classList.add("chosen");
    const folded = row.closest("details");
    if (folded) folded.open = true;
    row.scrollIntoView({ block: "center" });
  };

  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    const layout = figure.layout;
    // A finger that drags means to scroll the page, not to zoom the plot.
    if (touch) layout.dragmode = false;
    Plotly.newPlot(place, figure.data, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: false,
      scrollZoom: false,
    });
    place.on("plotly_click", (event) => {
      const number = event.points.map((point) => point.customdata).find((value) => value !== undefined);
      if (number !== undefined) show(number);
    });
  }

  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    for (const button of table.querySelectorAll("th button")) {
      button.addEventListener("click", () => {
        const head = button.parentElement;
        const column = head.cellIndex;
        const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [key(row, column), row]);
        // What was not measured stays last in both directions.
        rows.sort(([a], [b]) => (a === "") - (b === "") || direction * compare(a, b));
        body.append(...rows.map(([, row]) => row));
      });
    }
  }

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
})();
