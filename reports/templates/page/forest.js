/* Rows of a mean with its interval; where there is one, what it was selected by, and a price beside. */
function forestChart(key) {
  const view = figure(key, draw), { block } = view;
  function draw(element, width) {
    const rows = block.intervals, tall = 28, priced = rows.some((row) => known(row.bar));
    const longest = d3.max(rows, (row) => row.label.length), left = Math.min(width * 0.42, 7 * longest + 14);
    const room = priced && width > 420 ? Math.min(180, width * 0.26) : 0;
    const box = { left, top: 22, width: width - left - room - 16, height: tall * rows.length };
    const values = rows.flatMap((row) => [row.low, row.high, row.mean, ...(known(row.before) ? [row.before] : [])]);
    const through = rows.every((row) => !known(row.before)) ? [0] : [];
    const x = d3.scaleLinear(padded([...values, ...through]), [box.left, box.left + box.width]);
    const y = (place) => box.top + (place + 0.5) * tall, height = box.top + box.height + 46;
    const svg = svgOf(element, width, height, element.getAttribute("aria-label"));
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${box.top + box.height})`).call(d3.axisBottom(x).ticks(Math.max(2, box.width / 80)).tickSizeOuter(0));
    const middle = Math.min(box.left + box.width / 2, width - 3.4 * block.unit.length);
    svg.append("text").attr("class", "soft").attr("x", middle).attr("y", height - 8).attr("text-anchor", "middle").text(block.unit);
    if (through.length) svg.append("line").attr("x1", x(0)).attr("x2", x(0)).attr("y1", box.top).attr("y2", box.top + box.height).attr("stroke", "var(--axis)");
    const fits = Math.max(4, Math.floor((left - 10) / 6.6)), cost = d3.scaleLinear([0, d3.max(rows, (row) => Math.abs(row.bar || 0)) || 1], [0, Math.max(0, room - 20)]);
    rows.forEach((row, place) => {
      const name = svg.append("text").attr("x", left - 10).attr("y", y(place) + 4).attr("text-anchor", "end").text(row.label.length > fits ? `…${row.label.slice(1 - fits)}` : row.label);
      name.append("title").text(row.label);
      const line = svg.append("g").attr("class", "row");
      if (known(row.before)) {
        line.append("line").attr("x1", x(row.before)).attr("x2", x(row.mean)).attr("y1", y(place)).attr("y2", y(place)).attr("stroke", "var(--axis)").attr("stroke-dasharray", "2 3");
        line.append("circle").attr("class", "before").attr("cx", x(row.before)).attr("cy", y(place)).attr("r", 5).attr("fill", "var(--card)").attr("stroke", "var(--soft)").attr("stroke-width", 2);
      }
      const ink = row.filled ? "var(--good)" : "var(--soft)";
      line.append("path").attr("class", "interval").attr("d", `M${x(row.low)} ${y(place)}H${x(row.high)}M${x(row.low)} ${y(place) - 4}v8M${x(row.high)} ${y(place) - 4}v8`).attr("stroke", ink).attr("stroke-width", 2);
      line.append("circle").attr("class", "mean").attr("cx", x(row.mean)).attr("cy", y(place)).attr("r", 5).attr("fill", row.filled ? ink : "var(--card)").attr("stroke", ink).attr("stroke-width", 2);
      if (room && known(row.bar)) {
        svg.append("rect").attr("class", "price").attr("x", width - room).attr("y", y(place) - 7).attr("width", Math.max(1, cost(Math.abs(row.bar)))).attr("height", 14).attr("fill", "var(--axis)").append("title").text(row.bar_text);
      }
      line.on("pointermove", (event) => showTip(event.clientX, event.clientY, [row.label, `${signedText(row.mean, 3)} (${signedText(row.low, 3)} to ${signedText(row.high, 3)})`, ...(known(row.n) ? [`n = ${row.n}`] : []), ...(row.bar_text ? [row.bar_text] : [])]));
      line.on("pointerleave", hideTip);
    });
    if (room) svg.append("text").attr("class", "soft").attr("x", width - room).attr("y", box.top + box.height + 18).text("FLOPs");
  }
  view.redraw();
}
