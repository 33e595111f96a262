/* Who worked when: a bar a trial, in lanes. */
function timelineChart() {
  const view = figure("timeline", draw), { block } = view;
  const START = 3, END = 4, laneOf = new Map(block.lanes.map((name, lane) => [name, lane]));
  const fill = { complete: "#009e73", failed: "#d55e00", stopped: "#e69f00" };
  function draw(element, width) {
    const lanes = block.lanes.length, tall = Math.min(22, Math.max(1, 320 / lanes)), named = tall >= 12;
    const left = named ? Math.min(width * 0.34, 6.6 * d3.max(block.lanes, (name) => name.length) + 14) : 46;
    const box = { left, top: 8, width: width - left - 14, height: tall * lanes };
    const height = box.top + box.height + 44, last = d3.max(block.rows, (bar) => bar[END]) || 1;
    const unit = last > 7200 ? ["hours", 3600] : last > 240 ? ["minutes", 60] : ["seconds", 1];
    const x = d3.scaleLinear([0, last / unit[1]], [box.left, box.left + box.width]);
    const svg = svgOf(element, width, height, element.getAttribute("aria-label"));
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${box.top + box.height})`).call(d3.axisBottom(x).ticks(Math.max(2, box.width / 90)).tickSizeOuter(0));
    svg.append("text").attr("class", "soft").attr("x", box.left + box.width / 2).attr("y", height - 8).attr("text-anchor", "middle").text(`${unit[0]} since the start`);
    if (!named) svg.append("text").attr("class", "soft").attr("x", 4).attr("y", box.top + 12).text("worker");
    const fits = Math.max(4, Math.floor((left - 10) / 6.6));
    block.lanes.forEach((name, lane) => {
      if (named) svg.append("text").attr("class", "soft").attr("x", left - 6).attr("y", box.top + (lane + 0.5) * tall + 4).attr("text-anchor", "end").text(name.length > fits ? `…${name.slice(1 - fits)}` : name).append("title").text(name);
    });
    const context = canvasOf(element, width, height);
    for (const [, name, , start, end, state_] of block.rows) {
      context.fillStyle = fill[state_] || "#8a93a0";
      const at = x(start / unit[1]), top = box.top + laneOf.get(name) * tall + 1, high = Math.max(2, tall - 2), wide = Math.max(1, x(end / unit[1]) - at - 0.5);
      context.fillRect(at, top, wide, high);
      if (state_ === "failed" && wide > 3) { context.strokeStyle = "#fff"; context.beginPath(); context.moveTo(at, top); context.lineTo(at + wide, top + high); context.stroke(); }
    }
    const find = (event) => {
      const [px, py] = d3.pointer(event, svg.node()), name = block.lanes[Math.floor((py - box.top) / tall)], moment = x.invert(px) * unit[1];
      return block.rows.find((bar) => bar[1] === name && bar[START] <= moment && moment <= bar[END]);
    };
    svg.on("pointermove", (event) => {
      const bar = find(event);
      if (!bar) return hideTip();
      showTip(event.clientX, event.clientY, [`trial ${bar[0]}, ${bar[5]}`, `${bar[1]}${bar[2] ? `, process ${bar[2]}` : ""}`, `${secondsText(bar[START])} to ${secondsText(bar[END])}`]);
    }).on("pointerleave", hideTip).on("click", (event) => { const bar = find(event); if (bar) toggle(placeOf.get(bar[0])); });
  }
  view.redraw();
}
