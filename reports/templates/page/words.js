/* Numbers as people read them, as in every other place of the program; what was not measured is n/a. */
const MISSING = "n/a";
const known = (value) => value !== null && value !== undefined;

function threeDigits(value) {
  if (value === 0) return "0";
  let places = 2 - Math.floor(Math.log10(Math.abs(value)));
  if (places > 0 && Math.abs(Number(value.toFixed(Math.min(places, 6)))) >= 10 ** (3 - places)) places -= 1;
  places = Math.min(Math.max(places, 0), 6);
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}
function countText(value) {
  if (!known(value)) return MISSING;
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < 6) { value /= 1000; step += 1; }
  return threeDigits(value) + ["", "k", "M", "G", "T", "P", "E"][step];
}
const msText = (value) => (known(value) ? `${threeDigits(value)} ms` : MISSING);
const percentText = (value, places = 2) => (known(value) ? `${(100 * value).toFixed(places)}%` : MISSING);
const costText = (key, value) => (key === "latency_ms" ? msText(value) : countText(value));
const signedText = (value, places = 2) => {
  const text = Math.abs(value).toFixed(places);
  return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
};
function secondsText(value) {
  if (!known(value)) return MISSING;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${(value / 3600).toFixed(2)} h`;
}
function probabilityText(p) {
  if (!known(p)) return "";
  return p > 0.995 ? "over 99.5%" : p < 0.005 ? "under 0.5%" : `${(100 * p).toFixed(0)}%`;
}
const half = (low, high) => (high - low) / 2;
const reachedText = (i) => known(of("low", i))
  ? `${(100 * of("quality", i)).toFixed(2)} ± ${(100 * half(of("low", i), of("high", i))).toFixed(2)}%`
  : percentText(of("score", i));
const gainText = (i) => !known(of("gain", i)) || of("gain_low", i) === of("gain_high", i)
  ? "" : `${signedText(of("gain", i))} ± ${half(of("gain_low", i), of("gain_high", i)).toFixed(2)}`;
const METRICS = { macs: "FLOPs", latency_ms: "p50 latency", params: "parameters" };
const metricText = (key) => METRICS[key] || key;
/** The budgets that a trial misses, each as it does: "FLOPs over budget", "accuracy below what is asked". */
const missedTexts = (i) => of("over", i).map((place) => report.budgets[place])
  .map((budget) => `${metricText(budget.metric)} ${budget.at_least ? "below what is asked" : "over budget"}`);
const openText = (i) => of("open", i).map((place) => metricText(report.budgets[place].metric)).join(", ");
const trialName = (i) => `trial ${of("number", i)}${i === baseline ? " (all-add)" : ""}`;
const latencyText = (i) => {
  const mark = textOf("latency_source", i) === "predicted" ? "≈" : of("unsteady", i) ? "~" : "";
  return known(of("latency_ms", i)) ? mark + msText(of("latency_ms", i)) : MISSING;
};

/** A new element: attributes by name, then children, which are text where they are no elements. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && known(value)) element.setAttribute(name, value);
  }
  element.append(...children.filter(known));
  return element;
}
/** An architecture as a strip of coloured cells. */
function strip(i, labelled = false) {
  const cells = make("span", { class: `strip${labelled ? " labelled" : ""}`, role: "img", "aria-label": choicesText(i) });
  let stage = null, group = null;
  choicesOf(i).forEach((choice, p) => {
    const point = report.trials.points[p] || { stage: "" };
    if (point.stage !== stage || !group) { group = make("span", { class: "stage" }); cells.append(group); stage = point.stage; }
    group.append(make("i", { class: `o${choice.operator}` }, labelled ? choice.label : ""));
  });
  return cells;
}
/** The command that exports a trial. */
const exportCommand = (i) => {
  const path = report.run.path, plain = /^[\w@%+=:,./-]+$/.test(path);
  return `nas export ${plain ? path : `'${path.replaceAll("'", `'"'"'`)}'`} ${of("number", i)} --out model-${of("number", i)}`;
};
