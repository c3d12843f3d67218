// A chart of metrics over steps on uPlot, which is joined in front of this file.

const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [14, 4]];
const IS_SHARE = /acc|auc|f1|precision|recall|score|iou|r2/i;

/** A colour of the sheet as the canvas needs it. */
const colour = (el, name) => getComputedStyle(el).getPropertyValue(name).trim();

/**
 * A curve that is appended to. `points` is a Map of name to [[step, value], …] that the caller keeps; `update()` draws
 * what is in it. People choose which metrics are drawn; losses are on the left axis, shares such as accuracy on the
 * right. Gives {node, update, close}.
 */
function curve(model, points) {
  const plot = h("div", { class: "dure-plot", role: "img" });
  const legend = h("div", { class: "dure-legend", role: "group", "aria-label": word(model, "curve") });
  const empty = h("p", { class: "dure-muted" }, word(model, "no_metrics"));
  const node = h("div", { class: "dure-curve" }, empty, plot, legend);
  const chosen = new Map();
  let chart = null;
  let drawn = "";

  const choose = () => {
    const names = [...points.keys()].sort();
    const obvious = names.filter((name) => /loss/i.test(name)).slice(0, 2).concat(names.filter((name) => IS_SHARE.test(name)).slice(0, 1));
    const first = obvious.length ? obvious : names.slice(0, 2);
    names.forEach((name) => chosen.has(name) || chosen.set(name, { on: first.includes(name), at: chosen.size }));
    return names;
  };
  const look = (name) => ({ stroke: colour(node, `--d-series-${(chosen.get(name).at % 5) + 1}`), dash: DASHES[chosen.get(name).at % 5] });
  const axis = (scale, side) => ({
    scale, side, stroke: colour(node, "--d-muted"), size: 52, font: "12px system-ui, sans-serif",
    grid: { show: side !== 1, stroke: colour(node, "--d-line"), width: 1 }, ticks: { stroke: colour(node, "--d-line"), width: 1 },
  });
  const build = (names) => {
    chart?.destroy();
    const shares = names.some((name) => IS_SHARE.test(name));
    const others = names.some((name) => !IS_SHARE.test(name));
    const axes = [{ ...axis("x", 2), size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6] }];
    if (others) axes.push(axis("y", 3));
    if (shares) axes.push(axis("share", others ? 1 : 3));
    chart = new uPlot({
      width: Math.max(plot.clientWidth, 200), height: 220, legend: { show: false }, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { auto: true }, share: { auto: true } },
      axes,
      series: [{}, ...names.map((name) => ({
        label: name, scale: IS_SHARE.test(name) ? "share" : "y", width: 2, spanGaps: true, ...look(name), points: { show: (u, i) => (points.get(name) ?? []).length < 40 },
      }))],
    }, [[], ...names.map(() => [])], plot);
  };
  const makeEntry = (name) => {
    const box = h("input", { type: "checkbox", id: newId(), onchange: () => {
      chosen.get(name).on = box.checked;
      update();
    } });
    box.checked = chosen.get(name).on;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.setAttribute("class", "dure-line");
    line.setAttribute("viewBox", "0 0 28 4");
    line.setAttribute("aria-hidden", "true");
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
    stroke.setAttribute("d", "M0 2H28");
    stroke.setAttribute("stroke-dasharray", look(name).dash.join(" "));
    stroke.setAttribute("style", `stroke: var(--d-series-${(chosen.get(name).at % 5) + 1})`);
    line.append(stroke);
    return h("label", { for: box.id }, box, line, h("span", {}, name), h("strong"));
  };
  const patchEntry = (entry, name) => {
    const rows = points.get(name);
    text(entry.lastChild, rows.length ? number(model, rows[rows.length - 1][1]) : "");
  };
  const update = () => {
    const names = choose();
    show(empty, !names.length);
    show(plot, names.length > 0);
    keyed(legend, names, (name) => name, makeEntry, patchEntry);
    const on = names.filter((name) => chosen.get(name).on);
    if (chart === null || drawn !== on.join("\n")) {
      if (!names.length) return;
      drawn = on.join("\n");
      build(on);
    }
    const tables = on.map((name) => [points.get(name).map((row) => row[0]), points.get(name).map((row) => row[1])]).filter(([steps]) => steps.length);
    chart.setData(tables.length === on.length && on.length ? uPlot.join(tables) : [[], ...on.map(() => [])]);
    const count = [...points.values()].reduce((sum, rows) => sum + rows.length, 0);
    put(node, "data-points", count);
    put(plot, "aria-label", on.map((name) => {
      const [step, value] = points.get(name).at(-1) ?? [null, null];
      return word(model, "last", { name, value: number(model, value), step });
    }).join("; "));
  };
  const sized = new ResizeObserver(() => chart && plot.clientWidth && chart.setSize({ width: plot.clientWidth, height: 220 }));
  sized.observe(plot);
  // The canvas keeps the colours it was drawn with, so another theme needs another chart.
  const themed = new MutationObserver(() => requestAnimationFrame(() => {
    drawn = null;
    update();
  }));
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const close = () => {
    sized.disconnect();
    themed.disconnect();
    chart?.destroy();
  };
  return { node, update, close, clear: () => {
    chosen.clear();
    chart?.destroy();
    chart = null;
    put(node, "data-points", 0);
    update();
  } };
}
