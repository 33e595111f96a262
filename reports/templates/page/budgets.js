/* A budget as a line that can be dragged, by mouse, finger or arrow keys, and what the front answers. */
function budgetLine(svg, box, x, key, limit) {
  const [least, most] = x.domain();
  const parked = limit === null || limit > most, value = parked ? most : Math.max(limit, least);
  const name = metricText(key);
  const words = limit === null ? `no budget of ${name}: drag in` : `${name} ≤ ${costText(key, limit)}${limit > most ? ", beyond the right" : ""}`;
  const group = svg.append("g").attr("class", "budget").attr("tabindex", 0).attr("data-focus", "budget").attr("role", "slider").attr("aria-label", `Budget of ${name}`)
    .attr("aria-valuemin", least).attr("aria-valuemax", most).attr("aria-valuenow", value).attr("aria-valuetext", words);
  const px = x(value);
  group.append("line").attr("x1", px).attr("x2", px).attr("y1", box.top).attr("y2", box.top + box.height);
  group.append("line").attr("class", "hit").attr("x1", px).attr("x2", px).attr("y1", box.top - 16).attr("y2", box.top + box.height);
  group.append("rect").attr("class", "grip").attr("x", px - 5).attr("y", box.top - 8).attr("width", 10).attr("height", 16).attr("rx", 3);
  const right = px > box.left + box.width / 2;
  group.append("text").attr("class", "halo").attr("x", px + (right ? -9 : 9)).attr("y", box.top + 4).attr("text-anchor", right ? "end" : "start").text(words);
  const move = (to) => { setLimit(key, to >= most ? null : Math.max(to, least)); };
  group.call(d3.drag().container(svg.node()).on("start", hideTip).on("drag", (event) => {
    // The line is drawn anew while it is dragged: what listens is the window, through d3.
    const to = x.invert(Math.min(Math.max(event.x, box.left), box.left + box.width));
    if (!budgetLine.waiting) requestAnimationFrame(() => { budgetLine.waiting = false; setLimit(key, budgetLine.to >= most ? null : budgetLine.to); });
    budgetLine.waiting = true;
    budgetLine.to = to;
  }));
  group.on("keydown", (event) => {
    const step = { ArrowRight: 0.01, ArrowUp: 0.01, ArrowLeft: -0.01, ArrowDown: -0.01, PageUp: 0.1, PageDown: -0.1 }[event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Home") move(recorded.has(key) ? recorded.get(key) : most);
    else if (event.key === "End") move(most);
    else move(value + step * (most - least));
  });
}

/** What the front says under budgets that were moved: how many, the best of them, and how to take it along. */
function answerBudgets(place, key, { front, able }) {
  place.hidden = !isMoved();
  if (place.hidden) return;
  const asked = [...new Set([...recorded.keys(), ...state.limits.keys()])].map((name) => [name, limitOf(name)]).filter(([, limit]) => limit !== null)
    .map(([name, limit]) => `${metricText(name)} ≤ ${costText(name, limit)}`);
  const under = asked.length ? `Under ${asked.join(" and ")}` : "Without a budget";
  const open = everyone.filter((i) => isComplete(i) && isWithin(i) === null).length;
  if (!able.length) {
    place.replaceChildren(`${under}: no trained architecture${open ? ` that is known to be; of ${open.toLocaleString("en")} it is not known` : ""}.`);
    return;
  }
  const best = front[front.length - 1];
  const pick = make("button", { type: "button", class: "pick", onclick: () => select(best) }, trialName(best));
  keepingFocus(place, () => place.replaceChildren(
    `${under}: ${able.length.toLocaleString("en")} of ${everyone.filter(isComplete).length.toLocaleString("en")} trained architectures, ${front.length} on the front. Most accurate: `,
    pick, ` ${reachedText(best)} ${report.run.score_label}${gainText(best) ? `, ${gainText(best)} points on all-add` : ""}, ${costText(key, of(key, best))}. `,
    open ? `Of ${open.toLocaleString("en")} more it is not known. ` : "",
    make("span", { class: "command" }, make("code", {}, exportCommand(best))),
  ));
}
