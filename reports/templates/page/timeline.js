/* Who worked when: a bar a trial, in lanes. */
function timelineChart() {
  const view = figure("timeline", draw), { block } = view;
  const fill = { complete: "#009e73", failed: "#d55e00", stopped: "#e69f00" };
  function draw(element, width) {
    const tall = Math.min(22, Math.max(1, 320 / block.lanes)), box = { left: 46, top: 8, width: width - 60, height: tall * block.lanes };
    const height = box.top + box.height + 44, last = d3.max(block.rows, (bar) => bar[3]) || 1;
    const unit = last > 7200 ? ["hours", 3600] : last > 240 ? ["minutes", 60] : ["seconds", 1];
    const x = d3.scaleLinear([0, last / unit[1]], [box.left, box.left + box.width]);
    const svg = svgOf(element, width, height, element.getAttribute("aria-label"));
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${box.top + box.height})`).call(d3.axisBottom(x).ticks(Math.max(2, box.width / 90)).tickSizeOuter(0));
    svg.append("text").attr("class", "soft").attr("x", box.left + box.width / 2).attr("y", height - 8).attr("text-anchor", "middle").text(`${unit[0]} since the start`);
    svg.append("text").attr("class", "soft").attr("x", 4).attr("y", box.top + 12).text("lane");
    const context = canvasOf(element, width, height);
    for (const [number, lane, start, end, state_] of block.rows) {
      context.fillStyle = fill[state_] || "#8a93a0";
      const at = x(start / unit[1]), top = box.top + (lane - 1) * tall + 1, high = Math.max(2, tall - 2), wide = Math.max(1, x(end / unit[1]) - at - 0.5);
      context.fillRect(at, top, wide, high);
      if (state_ === "failed" && wide > 3) { context.strokeStyle = "#fff"; context.beginPath(); context.moveTo(at, top); context.lineTo(at + wide, top + high); context.stroke(); }
    }
    const find = (event) => {
      const [px, py] = d3.pointer(event, svg.node()), lane = 1 + Math.floor((py - box.top) / tall), moment = x.invert(px) * unit[1];
      return block.rows.find((bar) => bar[1] === lane && bar[2] <= moment && moment <= bar[3]);
    };
    svg.on("pointermove", (event) => {
      const bar = find(event);
      if (!bar) return hideTip();
      showTip(event.clientX, event.clientY, [`trial ${bar[0]}, ${bar[4]}`, `${secondsText(bar[2])} to ${secondsText(bar[3])}`]);
    }).on("pointerleave", hideTip).on("click", (event) => { const bar = find(event); if (bar) toggle(placeOf.get(bar[0])); });
  }
  view.redraw();
}
