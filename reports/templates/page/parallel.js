/* Parallel coordinates: a line a trial, brushed on any axis, linked to the table and the front. */
const LEAST = 72; // pixels of an axis
const POINT_AXES = 6; // of a deeper network the axes are how often each operator stands in it
function parallelAxes() {
  const plain = [["macs", "FLOPs"], ["latency_ms", "p50 (ms)"], ["params", "params"], ["quality", `${report.run.score_label} (%)`]];
  const costs = plain.filter(([key]) => everyone.some((i) => known(of(key, i)))).map(([key, name]) => ({ key, name, value: (i) => (key === "quality" && known(of(key, i)) ? 100 * of(key, i) : of(key, i)), format: numberFormat(key) }));
  const operators = report.palette.map((look, place) => ({ place, name: look.operator }));
  if (report.trials.points.length <= POINT_AXES)
    return [...report.trials.points.map((point, p) => ({ key: `point-${p}`, name: point.name, value: (i) => (choicesOf(i)[p] || {}).operator, names: operators.map((o) => o.name) })), ...costs];
  const times = operators.map(({ place }) => everyone.map((i) => choicesOf(i).filter((choice) => choice.operator === place).length));
  const used = operators.filter(({ place }) => d3.max(times[place]) > 0).sort((a, b) => d3.deviation(times[b.place]) - d3.deviation(times[a.place])).slice(0, POINT_AXES);
  return [...used.map(({ place, name }) => ({ key: `op-${place}`, name, value: (i) => times[place][i], format: d3.format("d") })), ...costs];
}
function parallelChart() {
  const axes = parallelAxes(), ranges = new Map();
  const view = figure("parallel", draw, () => ({ columns: ["trial", ...axes.map((axis) => axis.name)], rows: shown().map((i) => [of("number", i), ...axes.map((axis) => (axis.names ? axis.names[axis.value(i)] : axis.value(i)))]) }));
  const clear = tool(view.controls, "Clear the brushes", () => { ranges.clear(); update(); view.redraw(); }, { hidden: true });
  let scales = [], x = null, height = 0, full = 0;
  view.element.classList.add("parallel");
  function update() {
    clear.hidden = ranges.size === 0;
    const tests = [...ranges].map(([place, [low, high]]) => (i) => { const value = axes[place].value(i); return known(value) && value >= low && value <= high; });
    filterBy("brush", tests.length ? (i) => tests.every((test) => test(i)) : null);
  }
  function paint() {
    const context = canvasOf(view.plot, full, height);
    const best = colour("--good"), pale = colour("--axis"), selected = colour("--ink");
    const line = (i) => {
      context.beginPath();
      let pen = false;
      axes.forEach((axis, p) => {
        const value = axis.value(i);
        if (!known(value)) { pen = false; return; }
        const py = scales[p](value);
        if (pen) context.lineTo(x(p), py); else context.moveTo(x(p), py);
        pen = true;
      });
      context.stroke();
    };
    const some = everyone.length > 3000 ? 0.05 : everyone.length > 300 ? 0.18 : 0.5, kept = shown(), filtered = kept.length < count;
    context.lineWidth = 1;
    if (filtered) { context.strokeStyle = pale; context.globalAlpha = Math.min(some, 0.12); everyone.forEach((i) => { if (!isShown(i)) line(i); }); }
    context.strokeStyle = best; context.globalAlpha = filtered ? Math.min(1, Math.max(some, 40 / Math.max(1, kept.length))) : some;
    kept.forEach(line);
    context.globalAlpha = 1; context.lineWidth = 2.5; context.strokeStyle = selected;
    state.selected.forEach(line);
  }
  function draw(element, shownWidth) {
    // Where there is no room for all axes, they are scrolled sideways.
    full = Math.max(shownWidth, LEAST * axes.length);
    const width = full, narrow = width < 560;
    height = 300;
    const wide = axes.length && axes[0].names ? 8 * d3.max(axes[0].names, (name) => name.length) + 12 : 0;
    x = d3.scalePoint(d3.range(axes.length), [Math.max(narrow ? 46 : 60, Math.min(wide, width / 4)), width - (narrow ? 34 : 60)]);
    scales = axes.map((axis) => d3.scaleLinear(axis.names ? [-0.5, axis.names.length - 0.5] : padded(everyone.map(axis.value).filter(known), 0.03), [height - 24, 46]));
    paint();
    const svg = svgOf(element, width, height);
    for (const layer of element.querySelectorAll("svg, canvas")) layer.style.width = `${full}px`;
    axes.forEach((axis, p) => {
      const group = svg.append("g").attr("class", "axis").attr("transform", `translate(${x(p)},0)`);
      const ticks = d3.axisLeft(scales[p]).tickSizeOuter(0);
      if (axis.names) ticks.tickValues(d3.range(axis.names.length)).tickFormat((v) => axis.names[v]); else ticks.ticks(narrow ? 4 : 6).tickFormat(axis.format);
      group.call(ticks).selectAll("text").attr("class", "halo");
      const fits = Math.max(5, Math.floor(((width - 70) / axes.length) / 6.6)), name = axis.name;
      group.append("text").attr("class", "halo").attr("x", 0).attr("y", p % 2 && narrow ? 16 : 32).attr("text-anchor", "middle").text(name.length > fits ? `…${name.slice(1 - fits)}` : name).append("title").text(name);
      const brush = d3.brushY().extent([[-14, 46], [14, height - 24]]).on("brush end", (event) => {
        if (!event.sourceEvent && event.type !== "end") return;
        if (!event.selection) ranges.delete(p);
        else ranges.set(p, [scales[p].invert(event.selection[1]), scales[p].invert(event.selection[0])]);
        if (event.sourceEvent) update();
      });
      const place = svg.append("g").attr("class", "brush").attr("data-axis", axis.key).attr("data-focus", axis.key).attr("transform", `translate(${x(p)},0)`).call(brush);
      if (ranges.has(p)) { const [low, high] = ranges.get(p); place.call(brush.move, [scales[p](high), scales[p](low)]); }
      keys(place, brush, p);
    });
  }
  /** Without a mouse: arrows move the lower end of what is kept, with shift the upper one, Delete lets all pass. */
  function keys(place, brush, p) {
    const [least, most] = scales[p].domain(), say = () => { const now = ranges.get(p); return now ? `${threeDigits(now[0])} to ${threeDigits(now[1])}` : "all"; };
    place.attr("tabindex", 0).attr("role", "slider").attr("aria-label", `Keep of ${axes[p].name}`).attr("aria-valuemin", least).attr("aria-valuemax", most)
      .attr("aria-valuenow", ranges.has(p) ? ranges.get(p)[0] : least).attr("aria-valuetext", say());
    place.on("keydown", (event) => {
      const step = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
      if (!step && event.key !== "Delete" && event.key !== "Escape") return;
      event.preventDefault();
      if (!step) { ranges.delete(p); place.call(brush.move, null); } else {
        const now = [...(ranges.get(p) || [least, most])];
        now[event.shiftKey ? 1 : 0] = Math.min(most, Math.max(least, now[event.shiftKey ? 1 : 0] + step * (most - least)));
        if (now[0] >= now[1]) return;
        ranges.set(p, now);
        place.call(brush.move, [scales[p](now[1]), scales[p](now[0])]);
        place.attr("aria-valuenow", now[0]).attr("aria-valuetext", say());
      }
      update();
    });
  }
  when("filtered", () => { if (x) paint(); view.refill(); });
  when("selected", () => { if (x) paint(); });
  when("theme", () => { if (x) paint(); });
  view.redraw();
}
