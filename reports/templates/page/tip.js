/* What is pointed at, in words: one box for all charts, which also tells a screen reader. */
const tip = document.getElementById("tip");

/** Lines of text, then elements, at a place of the window. */
function showTip(x, y, lines, ...elements) {
  tip.replaceChildren(...lines.map((line, place) => make(place ? "div" : "b", {}, line)), ...elements);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 6))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 12) : y + 18}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener("scroll", hideTip, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

/** All that is to be said of a trial where it is pointed at. */
function trialLines(i) {
  const name = uniformName(i);
  const lines = [`trial ${of("number", i)} (${textOf("origin", i)}${name ? `, ${name}` : ""})`];
  if (known(of("quality", i))) {
    lines.push(`${report.run.score_label} ${reachedText(i)}${known(of("low", i)) ? ` estimated (90%), ${percentText(of("score", i))} seen` : ""}`);
    if (gainText(i)) lines.push(`${gainText(i)} points on all-add, P(better) ${probabilityText(of("better", i))}`);
  } else lines.push(textOf("state", i) === "gated" ? "over a budget, never trained" : textOf("state", i));
  const base = baseline === null ? null : of("macs", baseline);
  lines.push(`FLOPs ${countText(of("macs", i))}${base ? ` (${(of("macs", i) / base).toFixed(2)}× baseline)` : ""}, params ${countText(of("params", i))}`);
  if (known(of("latency_ms", i))) lines.push(`latency p50 ${latencyText(i)}, p95 ${msText(of("p95_ms", i))}`);
  lines.push(...missedTexts(i));
  if (of("open", i).length) lines.push(`not known whether within budget: ${openText(i)}`);
  lines.push(choicesText(i));
  return lines;
}
