/* What is selected, filtered and asked, and who wants to know: every view listens, and any of them may change it. */
const LONGEST = 6; // selected trials that can be compared side by side
const state = { selected: [], beside: baseline, filters: new Map(), limits: new Map() };
const listeners = new Map();

/** Events: "selected", "filtered", "limits", "theme". */
const when = (event, act) => listeners.set(event, [...(listeners.get(event) || []), act]);
const tell = (event) => (listeners.get(event) || []).forEach((act) => act());

/** Select a trial, or leave it; the last one is what is drawn. */
function toggle(i) {
  const there = state.selected.includes(i);
  state.selected = there ? state.selected.filter((other) => other !== i) : [...state.selected, i].slice(-LONGEST);
  tell("selected");
}
function select(i) {
  state.selected = [...state.selected.filter((other) => other !== i), i].slice(-LONGEST);
  tell("selected");
}

let shownMask = new Uint8Array(count).fill(1);
/** Filters are kept by who set them: a test of a trial, or null for none. */
function filterBy(who, test) {
  if (test === null) state.filters.delete(who); else state.filters.set(who, test);
  const tests = [...state.filters.values()];
  shownMask = Uint8Array.from(everyone, (i) => (tests.every((each) => each(i)) ? 1 : 0));
  tell("filtered");
}
const isShown = (i) => shownMask[i] === 1;
const shown = () => everyone.filter(isShown);

/* Budgets: those of the run, and what was dragged. A limit of null is no budget. */
const recorded = new Map();
for (const budget of report.budgets) if (known(budget.limit) && !budget.at_least) recorded.set(budget.metric, budget.limit);
const limitOf = (key) => (state.limits.has(key) ? state.limits.get(key) : recorded.has(key) ? recorded.get(key) : null);
const isMoved = () => state.limits.size > 0;
function setLimit(key, value) {
  if (value === undefined) state.limits.delete(key); else state.limits.set(key, value);
  tell("limits");
}
/** Whether a trial is within the budgets as they stand: null where a cost that matters is not known, or not well
    enough. A budget that was not moved says of it what it said. */
function isWithin(i) {
  if (!isMoved()) { const found = of("feasible", i); return found === null ? null : found === 1; }
  const stands = (place) => !state.limits.has(report.budgets[place].metric);
  if (of("over", i).some(stands)) return false;
  let unknown = of("open", i).some(stands);
  for (const [key, limit] of state.limits) {
    if (limit === null) continue;
    const value = of(key, i), least = key === "latency_ms" && known(of("latency_low", i)) ? of("latency_low", i) : value;
    if (value === null) unknown = true; else if (least > limit) return false; else if (value > limit) unknown = true;
  }
  return unknown ? null : true;
}
/** The trials within the budgets that no other one beats in quality and in `key`, cheapest first. */
function frontBy(key) {
  const able = everyone.filter((i) => isComplete(i) && !of("kept_off", i) && known(of(key, i)) && isWithin(i));
  able.sort((a, b) => of(key, a) - of(key, b) || of("quality", b) - of("quality", a));
  const kept = [];
  for (const i of able) {
    const last = kept[kept.length - 1];
    const equal = last !== undefined && of("quality", last) === of("quality", i) && of(key, last) === of(key, i);
    if (last === undefined || of("quality", i) > of("quality", last) || equal) kept.push(i);
  }
  return { front: kept, able };
}
