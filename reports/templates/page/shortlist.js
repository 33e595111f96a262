/* What is selected, side by side: figures, and the points at which they differ. */
function shortlist() {
  const place = document.getElementById("shortlist");
  if (!place) return;
  const draw = () => keepingFocus(place, () => {
    if (!state.selected.length) return place.replaceChildren(make("p", { class: "absent" }, "Nothing is selected: click a mark, or a trial's number in a table."));
    const shownTrials = [...(baseline === null ? [] : [baseline]), ...state.selected.filter((i) => i !== baseline)];
    const chips = make("ul", { class: "chips", "aria-label": "Selected trials" }, ...state.selected.map((i) =>
      make("li", {}, make("button", { type: "button", class: "chip", "aria-label": `Leave ${trialName(i)}`, onclick: () => toggle(i) }, `${trialName(i)} ×`))),
      make("li", {}, make("button", { type: "button", class: "chip", onclick: () => { state.selected = []; tell("selected"); } }, "leave all")));
    place.replaceChildren(make("h3", {}, "Selected"), chips, make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Selected trials side by side" }, differences(shownTrials)));
  });
  when("selected", draw);
  draw();
}

function differences(trials) {
  const figures = [
    [report.run.estimated ? `estimated ${report.run.score_label}` : report.run.score_label, reachedText], ["points on all-add", (i) => gainText(i) || "0"],
    ["P(better than all-add)", (i) => (i === baseline ? "" : probabilityText(of("better", i)))], ["FLOPs", (i) => countText(of("macs", i))],
    ["parameters", (i) => countText(of("params", i))], ["p50 / p95 latency", (i) => (known(of("latency_ms", i)) ? `${latencyText(i)} / ${msText(of("p95_ms", i))}` : MISSING)],
    ["within the budgets", (i) => ({ true: "yes", false: "no", null: "not known" })[isWithin(i)]],
  ];
  const rows = figures.map(([name, text]) => make("tr", {}, make("th", { scope: "row" }, name), ...trials.map((i) => make("td", {}, text(i)))));
  let alike = 0;
  report.trials.points.forEach((point, p) => {
    const chosen = trials.map((i) => choicesOf(i)[p]);
    if (new Set(chosen.map((choice) => choice.label)).size === 1) { alike += 1; return; }
    rows.push(make("tr", { class: "point" }, make("th", { scope: "row" }, point.name), ...chosen.map((choice, c) =>
      make("td", { class: choice.label !== chosen[0].label ? "differs" : null }, make("span", { class: `key o${choice.operator}` }, choice.label)))));
  });
  rows.push(make("tr", {}, make("th", { scope: "row" }, "alike in all"), make("td", { colspan: trials.length }, `${alike} of ${report.trials.points.length} points`)));
  rows.push(make("tr", {}, make("th", { scope: "row" }, "export"), ...trials.map((i) => make("td", {}, make("code", {}, exportCommand(i))))));
  const head = make("tr", {}, make("th", { scope: "col" }, ""), ...trials.map((i) => make("th", { scope: "col" }, trialName(i))));
  return make("table", { class: "differences" }, make("thead", {}, head), make("tbody", {}, ...rows));
}
