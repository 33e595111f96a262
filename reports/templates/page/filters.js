/* What of all trials is shown: words, a state, the front, what is within the budgets. */
function filters() {
  const place = document.getElementById("filters");
  if (!place) return;
  const words = everyone.map((i) => [of("number", i), textOf("state", i), textOf("origin", i), labelsOf(i).join(" "), textOf("failure", i), textOf("error", i)].join(" ").toLowerCase());
  const search = make("input", { type: "search", placeholder: "number, operator, origin, error …", "aria-label": "Search trials", oninput: () => {
    const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    filterBy("words", asked.length ? (i) => asked.every((word) => words[i].includes(word)) : null);
  } });
  const states = [...new Set(everyone.map((i) => textOf("state", i)))].sort();
  const list = make("select", { "aria-label": "State", onchange: () => filterBy("state", list.value ? (i) => textOf("state", i) === list.value : null) },
    make("option", { value: "" }, "any state"), ...states.map((name) => make("option", { value: name }, name)));
  const box = (name, label, test) => {
    const input = make("input", { type: "checkbox", onchange: () => filterBy(name, input.checked ? test : null) });
    return make("label", {}, input, label);
  };
  const told = make("span", { role: "status", id: "shown-count" });
  const tellCount = () => { told.textContent = `${shownMask.reduce((a, b) => a + b, 0).toLocaleString("en")} of ${count.toLocaleString("en")} shown`; };
  place.replaceChildren(search, list, box("within", "within the budgets", (i) => isWithin(i) === true), box("front", "on the front", (i) => of("front", i) === 1),
    box("chosen", "selected", (i) => state.selected.includes(i)), told);
  when("filtered", tellCount);
  when("selected", () => { if (state.filters.has("chosen")) filterBy("chosen", state.filters.get("chosen")); });
  when("limits", () => { if (state.filters.has("within")) filterBy("within", state.filters.get("within")); });
  tellCount();
}
