/* Scales, axes and layers that the charts share. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A plot's SVG, of this size, emptied; `words` is what it is to a screen reader. */
function svgOf(plot, width, height, words) {
  let svg = d3.select(plot).select("svg");
  if (svg.empty()) svg = d3.select(plot).append("svg");
  svg.selectAll("*").remove();
  svg.attr("viewBox", `0 0 ${width} ${height}`).attr("width", width).attr("height", height);
  if (words) svg.attr("role", "img").attr("aria-label", words);
  return svg;
}
/** A plot's canvas under its SVG, cleared, its units those of the SVG. */
function canvasOf(plot, width, height) {
  let canvas = plot.querySelector("canvas");
  if (!canvas) {
    canvas = make("canvas", { "aria-hidden": "true" });
    plot.prepend(canvas);
    plot.classList.add("layered");
  }
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
const numberFormat = (key) => (key === "macs" || key === "params" ? (v) => countText(v) : (v) => d3.format("~g")(Number(v.toPrecision(6))));

const ruler = document.createElement("canvas").getContext("2d");
/** Pixels that the widest of these labels takes. */
function labelRoom(labels, size = 12) {
  ruler.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return Math.ceil(Math.max(0, ...labels.map((label) => ruler.measureText(label).width)));
}
const ticksUp = (height) => Math.max(2, Math.floor(height / 55));
/** What an axis of so many pixels upwards needs on its left, so that none of its labels is cut off. */
const roomLeft = (y, height, format = null) => labelRoom(y.ticks(ticksUp(height)).map(format || y.tickFormat(ticksUp(height)))) + 16;

/** What counts something has no marks between whole numbers. */
function drawAxes(svg, box, x, y, words, formats = {}, counted = false) {
  const across = Math.max(2, Math.floor(box.width / 90)), up = ticksUp(box.height);
  const bottom = svg.append("g").attr("class", "axis").attr("transform", `translate(0,${box.top + box.height})`);
  const below = d3.axisBottom(x).ticks(across).tickSizeOuter(0).tickFormat(formats.x || (counted ? d3.format(",d") : null));
  bottom.call(counted ? below.tickValues(x.ticks(across).filter(Number.isInteger)) : below);
  const left = svg.append("g").attr("class", "axis").attr("transform", `translate(${box.left},0)`);
  left.call(d3.axisLeft(y).ticks(up).tickSizeOuter(0).tickFormat(formats.y || null));
  const grid = svg.insert("g", "g").attr("class", "grid");
  grid.selectAll("line").data(y.ticks(up)).join("line").attr("x1", box.left).attr("x2", box.left + box.width).attr("y1", y).attr("y2", y);
  svg.append("text").attr("class", "soft").attr("x", box.left + box.width / 2).attr("y", box.top + box.height + 36).attr("text-anchor", "middle").text(words.x);
  svg.append("text").attr("class", "soft").attr("x", box.left - 4).attr("y", box.top - 12).attr("text-anchor", "start").text(words.y);
}
/** A range with room at both ends, also where all values are equal. */
function padded(values, share = 0.06) {
  const [low, high] = d3.extent(values);
  if (low === undefined) return [0, 1];
  const room = (high - low || Math.abs(high) * 0.1 || 1) * share * (high > low ? 1 : 5);
  return [low - room, high + room];
}
