/* What each operator is worth at each point: a table whose cells are coloured by sign and size. */
function effectsChart() {
  const view = figure("effects-chart", draw), effects = view.block.effects;
  function draw(element) {
    const points = [...new Set(effects.map((e) => e.point))], operators = [...new Set(effects.map((e) => e.operator))];
    const order = new Map(report.trials.points.map((point, p) => [point.name, p]));
    points.sort((a, b) => order.get(a) - order.get(b));
    const by = new Map(effects.map((e) => [`${e.point}\n${e.operator}`, e])), most = d3.max(effects, (e) => Math.abs(e.mean)) || 1;
    const [good, bad] = [colour("--good"), colour("--bad")];
    const rows = points.map((point) => make("tr", {}, make("th", { scope: "row" }, point), ...operators.map((operator) => {
      const e = by.get(`${point}\n${operator}`);
      if (!e) return make("td", {}, "");
      const cell = make("td", { class: e.filled ? "sure" : null, title: `${e.choice} at ${point}: ${signedText(e.mean, 3)} points (${signedText(e.low, 3)} to ${signedText(e.high, 3)}), P(better than add) ${probabilityText(e.better)}, n = ${e.n}` },
        signedText(e.mean, 2), make("small", {}, `± ${half(e.low, e.high).toFixed(2)}, n = ${e.n}`));
      cell.style.backgroundColor = `color-mix(in srgb, ${e.mean >= 0 ? good : bad} ${Math.round(4 + 26 * Math.abs(e.mean) / most)}%, transparent)`;
      return cell;
    })));
    const head = make("tr", {}, make("th", { scope: "col" }, "point"), ...operators.map((operator) => make("th", { scope: "col", class: "n" }, operator)));
    const table = make("table", { class: "heat" }, make("thead", {}, head), make("tbody", {}, ...rows));
    element.replaceChildren(element.querySelector(".alt"), make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": view.block.title }, table));
  }
  when("theme", view.redraw);
  view.redraw();
}
