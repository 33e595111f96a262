/* All trials in a table of which only what is seen is in the page. */
const ROW = 30;
function trialsTable() {
  const fields = [
    { name: "Trial", value: (i) => of("number", i), cell: (i) => make("button", { type: "button", class: "pick", "data-focus": of("number", i), "aria-pressed": String(state.selected.includes(i)), onclick: () => toggle(i) }, `${of("number", i)}`) },
    { name: "State", value: (i) => textOf("state", i), cell: (i) => make("span", { class: `state ${textOf("state", i)}` }, textOf("state", i)) },
    { name: "Origin", value: (i) => textOf("origin", i) },
    { name: "Choices", value: choicesText, cell: (i) => { const cells = strip(i); cells.title = choicesText(i); return cells; }, plain: true },
    { name: report.run.score_label, value: (i) => of("score", i), text: (i) => percentText(of("score", i)), number: true },
    ...(report.run.estimated ? [
      { name: "Estimate", value: (i) => of("quality", i), text: (i) => (known(of("low", i)) ? reachedText(i) : MISSING), number: true },
      { name: "On all-add", value: (i) => of("gain", i), text: (i) => gainText(i), number: true },
      { name: "P(better)", value: (i) => of("better", i), text: (i) => (i === baseline ? "" : probabilityText(of("better", i))), number: true }] : []),
    { name: "FLOPs", value: (i) => of("macs", i), text: (i) => countText(of("macs", i)), number: true },
    { name: "Params", value: (i) => of("params", i), text: (i) => countText(of("params", i)), number: true },
    { name: "p50", value: (i) => of("latency_ms", i), text: latencyText, number: true },
    { name: "Loss", value: (i) => of("loss", i), text: (i) => (known(of("loss", i)) ? of("loss", i).toFixed(4) : MISSING), number: true },
    { name: "Epochs", value: (i) => of("epochs", i), number: true },
    { name: "Time", value: (i) => of("seconds", i), text: (i) => secondsText(of("seconds", i)), number: true },
    { name: "Remarks", value: remarks, plain: true },
  ];
  let order = [...everyone], by = 0, direction = 1, drawn = null;
  const view = figure("trials-table", draw, () => ({ columns: fields.map((field) => field.name), rows: order.map((i) => fields.map((field) => field.value(i))) }));
  const body = make("tbody"), heads = fields.map((field, place) => {
    const label = field.plain ? field.name : make("button", { type: "button", onclick: () => sort(place) }, field.name);
    return make("th", { scope: "col", class: field.number ? "n" : null }, label);
  });
  const table = make("table", { "aria-label": "All trials" }, make("thead", {}, make("tr", { "aria-rowindex": "1" }, ...heads)), body);
  const frame = make("div", { class: "virtual", tabindex: "0", role: "group", "aria-label": "All trials, scrollable", onscroll: () => requestAnimationFrame(() => fill()) }, table);

  /** What was not measured stays last in both directions. */
  function sort(place) {
    if (place !== null) { direction = by === place ? -direction : 1; by = place; }
    const value = fields[by].value, found = new Map(order.map((i) => [i, value(i)]));
    const missing = (v) => (!known(v) || v === "" ? 1 : 0);
    order = shown();
    const key = new Map(order.map((i) => [i, found.has(i) ? found.get(i) : value(i)]));
    order.sort((a, b) => { const [p, q] = [key.get(a), key.get(b)]; return missing(p) - missing(q) || (missing(p) ? a - b : direction * d3.ascending(p, q)) || a - b; });
    heads.forEach((head, h) => { if (h === by) head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending"); else head.removeAttribute("aria-sort"); });
    drawn = null;
    fill();
    view.refill();
  }
  function fill(all = 0) {
    const seen = Math.ceil((frame.clientHeight || 480) / ROW) + 6, first = all ? 0 : Math.max(0, Math.min(Math.floor(frame.scrollTop / ROW) - 3, order.length - seen));
    const last = Math.min(order.length, all || first + seen), now = `${first} ${last}`;
    if (now === drawn) return;
    drawn = now;
    const space = (rows) => { const row = make("tr", { class: "space", "aria-hidden": "true" }, make("td", { colspan: fields.length })); row.firstChild.style.height = `${rows * ROW}px`; return row; };
    const rows = order.slice(first, last).map((i, place) => make("tr", { "data-trial": of("number", i), "aria-rowindex": first + place + 2, class: state.selected.includes(i) ? "chosen" : null }, ...fields.map((field) => {
      const cell = make("td", { class: field.number ? "n" : null }, field.cell ? field.cell(i) : field.text ? field.text(i) : known(field.value(i)) ? String(field.value(i)) : "");
      if (field.name === "Remarks") cell.title = field.value(i);
      return cell;
    })));
    keepingFocus(view.plot, () => body.replaceChildren(...(first ? [space(first)] : []), ...rows, ...(last < order.length ? [space(order.length - last)] : [])));
    table.setAttribute("aria-rowcount", order.length + 1);
  }
  function remarks(i) {
    const over = missedTexts(i);
    if (of("open", i).length && isComplete(i)) over.push(`budget not known: ${openText(i)}`);
    return [...over, of("kept_off", i) ? "a longer look failed" : "", textOf("failure", i).replaceAll("_", " "), textOf("error", i)].filter(Boolean).join("; ");
  }
  function draw(element) {
    if (!frame.isConnected) element.append(frame);
    frame.style.height = `${Math.min(480, (order.length + 2) * ROW + 16)}px`;
    drawn = null;
    fill();
  }
  when("filtered", () => sort(null));
  when("selected", () => { drawn = null; fill(); });
  addEventListener("beforeprint", () => { drawn = null; fill(200); });
  addEventListener("afterprint", () => { drawn = null; fill(); });
  view.redraw();
  sort(null);
}
