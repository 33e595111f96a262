/* Lines over something that grows: trainings, hours, epochs. */
const LOOKS = { best: ["#0072b2", 3, null], other: ["#56b4e9", 1.5, null], baseline: ["#e69f00", 2.5, "6 4"] };
const COUNTED = new Set(["epoch", "trainings"]);
/** Pixels from the middle of one label to the next. */
const APART = 13;
/** Where the last point of each line has room for the line's own label, the labels and how high they stand: no two on
    top of one another. None where there are too many of them, or too little room beside the plot. */
function endLabels(series, y, tall, width) {
  const ends = series.filter((one) => one.label).map((one) => [one.label, y(one.y[one.y.length - 1])]).sort((a, b) => a[1] - b[1]);
  if (ends.length * APART > tall || labelRoom(ends.map(([text]) => text), 11) > width / 3) return [];
  const [low, high] = [y.range()[1], y.range()[0]];
  let at = -Infinity;
  for (const end of ends) at = end[1] = Math.max(end[1], low, at + APART);
  at = high + APART;
  for (const end of ends.reverse()) at = end[1] = Math.min(end[1], at - APART);
  return ends;
}
function linesChart(key) {
  let along = null;
  const view = figure(key, draw), { block, controls } = view, names = Object.keys(block.xs);
  along = names[0];
  if (names.length > 1) choose(controls, "Over", names.map((name) => [name, name]), (value) => { along = value; view.redraw(); });
  function draw(element, width) {
    const height = 260, top = 26, tall = height - 74;
    const series = block.series.map((one) => ({ ...one, x: one.x || block.xs[along] }));
    const y = d3.scaleLinear(block.range || padded(series.flatMap((one) => one.y), 0.08), [top + tall, top]);
    const labels = endLabels(series, y, tall, width), left = roomLeft(y, tall);
    const box = { left, top, width: width - left - (labels.length ? labelRoom(labels.map(([text]) => text), 11) + 12 : 26), height: tall };
    const x = d3.scaleLinear(padded(series.flatMap((one) => one.x), 0.02), [box.left, box.left + box.width]);
    const svg = svgOf(element, width, height, element.getAttribute("aria-label"));
    drawAxes(svg, box, x, y, { x: along, y: block.unit }, {}, COUNTED.has(along));
    const ends = svg.append("g").attr("class", "ends").selectAll("text").data(labels);
    ends.join("text").attr("class", "soft").attr("x", box.left + box.width + 6).attr("y", ([, at]) => at).attr("dy", "0.32em").text(([text]) => text);
    for (const one of [...series].reverse()) {
      const [own, wide, dash] = LOOKS[one.look || "best"], stroke = known(one.operator) ? report.palette[one.operator].fill : own;
      const line = d3.line((_, p) => x(one.x[p]), (v) => y(v)).curve(one.step ? d3.curveStepAfter : d3.curveLinear);
      svg.append("path").attr("class", "series").attr("d", line(one.y)).attr("fill", "none").attr("stroke", stroke).attr("stroke-width", one.step ? 2 : wide).attr("stroke-dasharray", dash);
      if (one.y.length < 12) svg.append("g").selectAll("circle").data(one.y).join("circle").attr("cx", (_, p) => x(one.x[p])).attr("cy", (v) => y(v)).attr("r", 2.5).attr("fill", stroke);
    }
    const all = series.flatMap((one) => one.y.map((v, p) => [x(one.x[p]), y(v), one, p]));
    const tree = d3.quadtree(all, (p) => p[0], (p) => p[1]);
    const ring = svg.append("circle").attr("r", 6).attr("fill", "none").attr("stroke", "var(--ink)").attr("visibility", "hidden");
    svg.on("pointermove", (event) => {
      const near = tree.find(...d3.pointer(event, svg.node()), 40);
      ring.attr("visibility", near ? "visible" : "hidden");
      if (!near) return hideTip();
      ring.attr("cx", near[0]).attr("cy", near[1]);
      showTip(event.clientX, event.clientY, [near[2].name, `${along} ${d3.format("~g")(near[2].x[near[3]])}: ${d3.format("~g")(near[2].y[near[3]])}`]);
    });
    svg.on("pointerleave", () => { ring.attr("visibility", "hidden"); hideTip(); });
    svg.on("click", (event) => { const near = tree.find(...d3.pointer(event, svg.node()), 40); if (near && known(near[2].trial) && placeOf.has(near[2].trial)) toggle(placeOf.get(near[2].trial)); });
  }
  view.redraw();
}
