/* Quality against a cost: all marks on a canvas, what answers on an SVG above it. */
const CROWD = 400;
const SMALLEST = 16; // pixels of a range that is zoomed to
const KINDS = {
  gated: ["gated: over budget, never trained", "#8a93a0"], unpriced: ["trained, not known whether within budget", "#8a93a0"],
  infeasible: ["trained, not within budget", "#d55e00"], feasible: ["trained, within budget", "#56b4e9"],
  front: ["front", "#0072b2"], uniform: ["one operator everywhere", "#a84d86"], baseline: ["all-add baseline", "#e69f00"],
};
const SYMBOLS = { uniform: d3.symbolDiamond, baseline: d3.symbolStar };

/** A mark, by shape and colour: what is over a budget is a cross, whatever the colours seen. */
function mark(context, kind, x, y, size) {
  context.beginPath();
  if (kind === "infeasible") {
    context.moveTo(x - size, y - size); context.lineTo(x + size, y + size);
    context.moveTo(x - size, y + size); context.lineTo(x + size, y - size);
    return context.stroke();
  }
  if (kind === "unpriced") { context.rect(x - size, y - size, 2 * size, 2 * size); return context.stroke(); }
  if (kind === "gated") { context.moveTo(x, y - 6); context.lineTo(x, y + 6); return context.stroke(); }
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
}

function frontChart() {
  let key = report.axes.length ? report.axes[0].key : "macs", zoom = null, tree = null, at = null, scales = null, found = frontBy(key);
  const view = figure("front-chart", draw, () => frontTable(key, found));
  const { plot, controls } = view;
  choose(controls, "Cost", report.axes.map((axis) => [axis.key, axis.name]), (value) => { key = value; zoom = null; at = null; refresh(); }).id = "front-axis";
  const back = tool(controls, "Budgets as recorded", () => { state.limits.clear(); tell("limits"); }, { id: "front-reset", hidden: true });
  const out = tool(controls, "Whole range", () => { zoom = null; view.redraw(); }, { hidden: true });
  const answer = make("div", { class: "answer", "aria-live": "polite", id: "front-answer", hidden: true });
  let marks = legend(new Set(found.front));
  plot.before(marks);
  plot.after(answer);
  plot.tabIndex = 0;
  plot.dataset.keys = "arrows";

  function refresh() {
    found = frontBy(key);
    back.hidden = !isMoved();
    const now = legend(new Set(found.front));
    marks.replaceWith(now);
    marks = now;
    answerBudgets(answer, key, found);
    view.redraw();
  }
  function kindOf(i, onFront) {
    if (!isComplete(i)) return textOf("state", i) === "gated" ? "gated" : null;
    if (i === baseline) return "baseline";
    const within = isWithin(i);
    if (onFront.has(i)) return "front";
    return within === null ? "unpriced" : within ? "feasible" : "infeasible";
  }
  function draw(element, width) {
    const height = width < 520 ? 380 : 460, top = 34, tall = height - 86;
    const onFront = new Set(found.front), limit = limitOf(key);
    const trained = everyone.filter((i) => isComplete(i) && known(of(key, i)));
    const gated = everyone.filter((i) => textOf("state", i) === "gated" && known(of(key, i)));
    const special = trained.filter((i) => onFront.has(i) || i === baseline || state.selected.includes(i));
    const ys = [...trained.map((i) => 100 * of("quality", i)), ...special.flatMap((i) => (known(of("low", i)) ? [100 * of("low", i), 100 * of("high", i)] : []))];
    const xs = trained.map((i) => of(key, i)), far = d3.max(xs) * 1.25;
    const near = [limit, recorded.get(key)].filter((v) => known(v) && v <= far && v >= d3.min(xs) / 2);
    const y = d3.scaleLinear(zoom ? zoom.y : padded(ys, 0.08), [top + tall, top]);
    const left = roomLeft(y, tall), box = { left, top, width: width - left - 16, height: tall };
    const x = d3.scaleLinear(zoom ? zoom.x : padded([...xs, ...near]), [box.left, box.left + box.width]);
    const svg = svgOf(element, width, height);
    svg.append("clipPath").attr("id", "front-clip").append("rect").attr("x", box.left).attr("y", box.top).attr("width", box.width).attr("height", box.height);
    drawAxes(svg, box, x, y, { x: report.axes.find((axis) => axis.key === key).name, y: `${report.run.estimated ? "estimated" : "validation"} ${report.run.score_label} (%)` }, { x: numberFormat(key) });
    const context = canvasOf(element, width, height);
    context.save();
    context.beginPath(); context.rect(box.left, box.top, box.width, box.height); context.clip();
    const crowd = trained.length > CROWD, size = crowd ? 2.4 : 3.6, plain = { gated: [], unpriced: [], infeasible: [], feasible: [] };
    const points = [];
    for (const i of [...trained, ...gated]) {
      const kind = kindOf(i, onFront), px = x(of(key, i)), py = kind === "gated" ? box.top + box.height - 7 : y(100 * of("quality", i));
      points.push([px, py, i]);
      if (plain[kind]) plain[kind].push([px, py, i]);
    }
    for (const [kind, marks] of Object.entries(plain)) {
      context.fillStyle = context.strokeStyle = KINDS[kind][1];
      context.lineWidth = kind === "infeasible" ? 1.6 : 1.2;
      for (const [px, py, i] of marks) {
        context.globalAlpha = isShown(i) ? (crowd ? 0.65 : 1) : 0.08;
        mark(context, kind, px, py, size);
      }
    }
    context.restore();
    const inside = svg.append("g").attr("clip-path", "url(#front-clip)");
    const line = d3.line((i) => x(of(key, i)), (i) => y(100 * of("quality", i))).curve(d3.curveStepAfter);
    if (found.front.length) inside.append("path").attr("class", "front-line").attr("d", line(found.front)).attr("fill", "none").attr("stroke", KINDS.front[1]).attr("stroke-width", 2);
    intervals(inside, special, x, y, onFront);
    inside.append("g").selectAll("circle").data(found.front.filter((i) => i !== baseline)).join("circle").attr("class", "on-front").attr("data-trial", (i) => of("number", i))
      .attr("cx", (i) => x(of(key, i))).attr("cy", (i) => y(100 * of("quality", i))).attr("r", crowd ? 4 : 5).attr("fill", KINDS.front[1]);
    named(inside, trained, x, y, box);
    inside.append("g").selectAll("circle").data(state.selected.filter((i) => known(of(key, i)) && known(of("quality", i)))).join("circle").attr("class", "ring")
      .attr("cx", (i) => x(of(key, i))).attr("cy", (i) => y(100 * of("quality", i))).attr("r", 9).attr("fill", "none").attr("stroke", "var(--ink)").attr("stroke-width", 2);
    const pointer = inside.append("circle").attr("class", "pointer").attr("r", 8).attr("fill", "none").attr("stroke", "var(--accent)").attr("stroke-width", 2.5).attr("visibility", "hidden");
    const area = svg.append("rect").attr("class", "area").attr("x", box.left).attr("y", box.top).attr("width", box.width).attr("height", box.height).attr("fill", "transparent");
    tree = d3.quadtree(points.filter(([px, py]) => px >= box.left - 2 && px <= box.left + box.width + 2 && py >= box.top && py <= box.top + box.height), (p) => p[0], (p) => p[1]);
    scales = { x, y, pointer, svg, box };
    listen(area, svg, box, x, y);
    budgetLine(svg, box, x, key, limit);
    out.hidden = zoom === null;
  }
  /** Intervals of what is told apart by eye: all of them would hide the marks. */
  function intervals(inside, special, x, y, onFront) {
    const told = special.filter((i) => known(of("low", i)));
    const bar = inside.append("g").selectAll("path").data(told).join("path").attr("class", "interval").attr("fill", "none").attr("stroke-width", 1.2);
    bar.attr("stroke", (i) => (i === baseline ? KINDS.baseline[1] : onFront.has(i) ? KINDS.front[1] : "var(--ink)"));
    bar.attr("d", (i) => {
      const px = x(of(key, i)), low = y(100 * of("low", i)), high = y(100 * of("high", i));
      return `M${px} ${low}V${high}M${px - 3} ${low}h6M${px - 3} ${high}h6`;
    });
  }
  /** The baseline and uniform networks, by name where there is room. */
  function named(inside, trained, x, y, box) {
    const some = trained.filter((i) => i === baseline || (textOf("origin", i) === "uniform" && uniformName(i)));
    const taken = [];
    for (const i of some.sort((a, b) => (b === baseline) - (a === baseline))) {
      const kind = i === baseline ? "baseline" : "uniform", px = x(of(key, i)), py = y(100 * of("quality", i));
      const shape = inside.append("path").attr("transform", `translate(${px},${py})`).attr("class", kind).attr("d", d3.symbol(SYMBOLS[kind], kind === "baseline" ? 130 : 70)());
      shape.attr("fill", kind === "baseline" ? KINDS.baseline[1] : "var(--card)").attr("stroke", kind === "baseline" ? "#5c3d00" : KINDS.uniform[1]).attr("stroke-width", kind === "baseline" ? 1 : 2);
      // What it is under the budgets would be hidden under it.
      const within = isWithin(i), inner = within === null ? ["M-3-3h6v6h-6z", "unpriced"] : within ? null : ["M-4-4L4 4M4-4L-4 4", "infeasible"];
      if (inner) inside.append("path").attr("class", inner[1]).attr("transform", `translate(${px},${py})`).attr("d", inner[0]).attr("fill", "none").attr("stroke", KINDS[inner[1]][1]).attr("stroke-width", 1.6);
      const text = i === baseline ? "all-add" : uniformName(i), wide = 6.6 * text.length;
      for (const [dx, dy, anchor] of [[0, -12, "middle"], [0, 22, "middle"], [11, 4, "start"], [-11, 4, "end"]]) {
        const left = px + dx - (anchor === "middle" ? wide / 2 : anchor === "end" ? wide : 0), top = py + dy - 11;
        const clear = left >= box.left && left + wide <= box.left + box.width && top >= box.top && top + 14 <= box.top + box.height;
        if (!clear || taken.some((o) => left < o.left + o.wide && o.left < left + wide && top < o.top + 14 && o.top < top + 14)) continue;
        taken.push({ left, top, wide });
        inside.append("text").attr("class", "halo name").attr("x", px + dx).attr("y", py + dy).attr("text-anchor", anchor).text(text);
        break;
      }
    }
  }
  function listen(area, svg, box, x, y) {
    let from = null, rectangle = null, dragged = false;
    const place = (event) => d3.pointer(event, svg.node());
    area.on("pointerdown", (event) => { dragged = false; if (event.pointerType === "mouse" && event.button === 0) { from = place(event); area.node().setPointerCapture(event.pointerId); } });
    area.on("pointermove", (event) => {
      const [px, py] = place(event);
      if (from && Math.hypot(px - from[0], py - from[1]) > 6) {
        hideTip();
        dragged = true;
        rectangle = rectangle || svg.append("rect").attr("class", "zoom");
        rectangle.attr("x", Math.min(px, from[0])).attr("y", Math.min(py, from[1])).attr("width", Math.abs(px - from[0])).attr("height", Math.abs(py - from[1]));
        return;
      }
      point(tree.find(px, py, 24), event.clientX, event.clientY);
    });
    area.on("pointerup", (event) => {
      const start = from, [px, py] = place(event);
      leave();
      // Along an axis on which nearly nothing was drawn all of it stays: nobody asks for a range of a few pixels.
      const wide = Math.abs(px - start?.[0]) >= SMALLEST, high = Math.abs(py - start?.[1]) >= SMALLEST;
      if (!dragged || !(wide || high)) return;
      zoom = {
        x: wide ? [start[0], px].sort(d3.ascending).map(x.invert) : x.domain(),
        y: high ? [start[1], py].sort(d3.descending).map(y.invert) : y.domain(),
      };
      view.redraw();
    });
    const leave = () => { from = null; if (rectangle) rectangle.remove(); rectangle = null; };
    area.on("pointercancel", leave);
    area.on("pointerleave", () => point(null));
    area.on("click", (event) => { const near = tree.find(...place(event), 24); if (near && !dragged) toggle(near[2]); });
    area.on("dblclick", () => { zoom = null; view.redraw(); });
  }
  function point(near, clientX, clientY) {
    scales.pointer.attr("visibility", near ? "visible" : "hidden");
    if (!near) return hideTip();
    scales.pointer.attr("cx", near[0]).attr("cy", near[1]);
    at = near[2];
    showTip(clientX, clientY, trialLines(near[2]), strip(near[2]));
  }
  /** Arrows go from mark to mark by cost, Enter selects, from the front where nothing was pointed at. */
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.target !== plot || (!step && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const order = found.front.length ? found.front : everyone.filter((i) => isComplete(i) && known(of(key, i))).sort((a, b) => of(key, a) - of(key, b));
    if (!order.length) return;
    if (!step) { if (at !== null) toggle(at); return; }
    const next = order[Math.min(Math.max(order.indexOf(at) + step, 0), order.length - 1)];
    const px = scales.x(of(key, next)), py = scales.y(100 * of("quality", next)), frame = scales.svg.node().getBoundingClientRect();
    point([px, py, next], frame.left + px, frame.top + py);
  });
  when("selected", view.redraw);
  when("filtered", view.redraw);
  when("theme", view.redraw);
  when("limits", refresh);
  view.redraw();
  window.frontChart = { where: (number) => { const i = placeOf.get(number), frame = scales.svg.node().getBoundingClientRect(); return [frame.left + scales.x(of(key, i)), frame.top + scales.y(100 * of("quality", i))]; } };
}

/** What the marks are, of those that are there under the budgets as they stand. */
function legend(onFront) {
  const used = new Set();
  for (const i of everyone) {
    if (!isComplete(i)) { if (textOf("state", i) === "gated") used.add("gated"); continue; }
    const within = isWithin(i);
    if (i === baseline) used.add("baseline"); else if (textOf("origin", i) === "uniform") used.add("uniform");
    used.add(onFront.has(i) ? "front" : within === null ? "unpriced" : within ? "feasible" : "infeasible");
  }
  return make("ul", { class: "legend marks" }, ...Object.entries(KINDS).filter(([kind]) => used.has(kind)).map(([kind, [words, fill]]) => {
    const svg = d3.create("svg").attr("class", "symbol").attr("viewBox", "-8 -8 16 16").attr("aria-hidden", "true");
    const path = { gated: "M0-6V6", unpriced: "M-4-4h8v8h-8z", infeasible: "M-4-4L4 4M4-4L-4 4", front: "M-8 0H8" }[kind];
    if (path) svg.append("path").attr("d", path).attr("fill", "none").attr("stroke", fill).attr("stroke-width", 2);
    if (SYMBOLS[kind]) svg.append("path").attr("d", d3.symbol(SYMBOLS[kind], 80)()).attr("fill", kind === "baseline" ? fill : "none").attr("stroke", fill).attr("stroke-width", 2);
    if (kind === "feasible" || kind === "front") svg.append("circle").attr("r", kind === "front" ? 5 : 3.6).attr("fill", fill);
    return make("li", {}, svg.node(), words);
  }));
}
function frontTable(key, found) {
  const onFront = new Set(found.front);
  const rows = everyone.filter((i) => isShown(i) && known(of(key, i)) && known(of("quality", i))).map((i) => [of("number", i), 100 * of("quality", i), known(of("low", i)) ? 100 * of("low", i) : null,
    known(of("high", i)) ? 100 * of("high", i) : null, of(key, i), onFront.has(i) ? "front" : { true: "within", false: "outside", null: "not known" }[isWithin(i)], choicesText(i)]);
  rows.sort((a, b) => (b[5] === "front") - (a[5] === "front") || b[1] - a[1]);
  return { columns: ["trial", `${report.run.score_label} (%)`, "low", "high", key, "budgets", "choices"], rows };
}
