/* The document that the page is a view of, and its trials by column. */
const report = JSON.parse(document.getElementById("report").textContent);
const columns = report.trials.columns;
const count = (columns.number || []).length;
const everyone = d3.range(count);

/** A trial's value by its place, null where it has none; texts and choices in full. */
const of = (name, i) => (columns[name] === null || columns[name] === undefined ? null : columns[name][i]);
const textOf = (name, i) => { const place = of(name, i); return place === null ? "" : report.trials.texts[place]; };
const placeOf = new Map((columns.number || []).map((number, i) => [number, i]));
const baseline = placeOf.has(report.run.baseline) ? placeOf.get(report.run.baseline) : null;
const choicesOf = (i) => of("architecture", i).map((place) => report.trials.choices[place]);
const labelsOf = (i) => choicesOf(i).map((choice) => choice.label);
const isComplete = (i) => textOf("state", i) === "complete";

/** `layer1: aff/4 ×3, add; layer2: se/8`, as everywhere else. */
function choicesText(i) {
  const stages = [];
  labelsOf(i).forEach((label, p) => {
    const stage = (report.trials.points[p] || {}).stage || "";
    const last = stages[stages.length - 1];
    if (!last || last.stage !== stage) return stages.push({ stage, runs: [[label, 1]] });
    const run = last.runs[last.runs.length - 1];
    if (run[0] === label) run[1] += 1; else last.runs.push([label, 1]);
  });
  return stages.map((s) => `${s.stage}: ${s.runs.map(([l, n]) => (n > 1 ? `${l} ×${n}` : l)).join(", ")}`).join("; ");
}

/** "all-aff" of an architecture with one operator everywhere, null of others. */
function uniformName(i) {
  const operators = new Set(choicesOf(i).map((choice) => choice.operator));
  return operators.size === 1 ? `all-${report.palette[[...operators][0]].operator}` : null;
}
