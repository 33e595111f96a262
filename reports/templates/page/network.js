/* The network in the order in which data flow: stages in rows, a cell a fusion point, frames where two differ. */
function networkChart() {
  const view = figure("network-chart", draw, figures), { controls, block } = view;
  const places = new Map(report.trials.points.map((point, p) => [point.name, p]));
  const first = () => (state.selected.length ? state.selected[state.selected.length - 1] : recommended());
  let drawn = null, beside = baseline;
  const what = choose(controls, "Draw", [], (value) => { drawn = Number(value); view.redraw(); });
  const other = choose(controls, "beside", [], (value) => { beside = value === "" ? null : Number(value); view.redraw(); });
  what.id = "network-trial";
  other.id = "network-beside";
  function options() {
    const offered = [...new Set([...state.selected, ...shipped(), ...(baseline === null ? [] : [baseline])])];
    drawn = first();
    if (drawn === null) return;
    if (beside !== null && !offered.includes(beside)) beside = baseline;
    what.replaceChildren(...offered.map((i) => make("option", { value: i }, trialName(i))));
    what.value = drawn;
    other.replaceChildren(make("option", { value: "" }, "nothing"), ...offered.map((i) => make("option", { value: i }, trialName(i))));
    other.value = beside === null ? "" : beside;
  }
  /** The points, with what the drawn architecture and the one beside it have there. */
  function figures() {
    const shownTrials = [drawn, beside].filter((i, place, all) => known(i) && all.indexOf(i) === place), labels = shownTrials.map(labelsOf);
    return { columns: [...block.columns, ...shownTrials.map(trialName)], rows: block.rows.map((row, p) => [...row, ...labels.map((label) => label[p])]) };
  }
  function draw(element, width) {
    const chosen = drawn === null ? null : choicesOf(drawn), others = beside === null || beside === drawn ? null : choicesOf(beside);
    const longest = d3.max(report.trials.choices, (choice) => choice.label.length) || 4;
    const cell = Math.min(110, Math.max(46, 7.4 * longest + 16)), tall = 26, pad = 10, gap = 24;
    const rows = [[]];
    let used = 0;
    const boxes = [{ end: block.ends[0] }, ...block.stages, { end: block.ends[1] }].map((stage) => {
      if (stage.end) return { ...stage, width: 8 * stage.end.length + 20, height: 40 };
      const across = Math.max(1, Math.min(stage.points.length, Math.floor((width - 2 * pad - 4) / (cell + 3))));
      const words = Math.max(stage.title.length * 8, (stage.shape || "").length * 6.4, `${stage.kind} ${stage.merges}`.length * 6.4) + 2 * pad;
      const lines = Math.ceil(stage.points.length / across);
      return { ...stage, across, width: Math.min(width - 4, Math.max(across * (cell + 3) + 2 * pad, words)), height: 58 + lines * (tall + 4) };
    });
    for (const box of boxes) {
      if (used && used + box.width > width - 4) { rows.push([]); used = 0; }
      rows[rows.length - 1].push({ ...box, x: used + 2 });
      used += box.width + gap;
    }
    let y = 4;
    const differing = others ? report.trials.points.filter((_, p) => chosen[p].label !== others[p].label).length : 0;
    const words = `${drawn === null ? "The network" : trialName(drawn)}${others ? `, which differs from ${trialName(beside)} at ${differing} of ${report.trials.points.length} points` : ""}: ${drawn === null ? "" : choicesText(drawn)}`;
    const svg = svgOf(element, width, 10, words);
    let last = null;
    for (const row of rows) {
      const height = d3.max(row, (box) => box.height);
      for (const box of row) {
        const top = y + (box.end ? (height - box.height) / 2 : 0);
        if (last) arrow(svg, last, { x: box.x, y: y + height / 2, top }, last.row !== row);
        stage(svg, box, top, chosen, others);
        last = { x: box.x + box.width, y: y + height / 2, bottom: top + box.height, row };
      }
      y += height + gap;
    }
    svg.attr("viewBox", `0 0 ${width} ${y}`).attr("height", y);
  }
  function arrow(svg, from, to, turned) {
    const path = turned ? `M${from.x - 14} ${from.bottom}v8H14V${to.top - 1}` : `M${from.x + 2} ${from.y}H${to.x - 3}`;
    svg.append("path").attr("d", path).attr("fill", "none").attr("stroke", "var(--axis)").attr("stroke-width", 1.5);
    const [x, y, turn] = turned ? [14, to.top - 1, 90] : [to.x - 3, to.y, 0];
    svg.append("path").attr("d", "M-6-4L0 0L-6 4").attr("fill", "none").attr("stroke", "var(--axis)").attr("stroke-width", 1.5).attr("transform", `translate(${x},${y}) rotate(${turn})`);
  }
  function stage(svg, box, top, chosen, others) {
    const group = svg.append("g").attr("transform", `translate(${box.x},${top})`);
    const frame = group.append("rect").attr("width", box.width).attr("height", box.height).attr("rx", 8).attr("fill", "none").attr("stroke", "var(--rule)");
    if (box.end) {
      frame.attr("stroke-dasharray", "4 3");
      group.append("text").attr("class", "soft").attr("x", box.width / 2).attr("y", 24).attr("text-anchor", "middle").text(box.end);
      return;
    }
    group.append("text").attr("x", 10).attr("y", 17).attr("font-weight", 650).text(box.title);
    group.append("text").attr("class", "soft").attr("x", 10).attr("y", 32).attr("font-size", 11).text([box.kind, box.merges === "2 maps" ? "" : box.merges].filter(Boolean).join(", "));
    group.append("text").attr("class", "soft").attr("x", 10).attr("y", box.height - 8).attr("font-size", 11).text(box.shape);
    const room = (box.width - 20 - 3 * (box.across - 1)) / box.across;
    box.points.forEach((name, place) => {
      const p = places.get(name), choice = chosen && chosen[p], other = others && others[p];
      const differs = choice && other && choice.label !== other.label;
      const cellGroup = group.append("g").attr("class", `point${differs ? " differs" : ""}`).attr("transform", `translate(${10 + (place % box.across) * (room + 3)},${38 + Math.floor(place / box.across) * 30})`);
      const look = choice ? report.palette[choice.operator] : { fill: "transparent", ink: "currentColor" };
      cellGroup.append("rect").attr("width", room).attr("height", 26).attr("rx", 4).attr("fill", look.fill).attr("stroke", differs ? "var(--ink)" : "var(--rule)").attr("stroke-width", differs ? 2.5 : 1);
      const text = cellGroup.append("text").attr("x", room / 2).attr("y", 17).attr("text-anchor", "middle").attr("font-size", 11.5).attr("font-weight", 600).text(choice ? choice.label : "");
      text.node().style.fill = look.ink;
      cellGroup.append("title").text(`${name}: ${choice ? choice.label : "any"}${differs ? `, ${trialName(beside)} has ${other.label}` : ""}`);
    });
  }
  const update = () => { options(); view.redraw(); };
  when("selected", update);
  update();
}
/** What the head recommends, by its rows. */
const shipped = () => [...document.querySelectorAll("#ship tr[data-trial], table.ship tr[data-trial]")].map((row) => placeOf.get(Number(row.dataset.trial)));
function recommended() {
  const offered = shipped();
  if (offered.length) return offered[0];
  return baseline !== null ? baseline : count ? 0 : null;
}
