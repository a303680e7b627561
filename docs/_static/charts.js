"use strict";
/* Draws the charts of the pages charts/*: bars of one table at a time, in the colours of the theme. */
(() => {
  const COLOURS = {
    softmax_cy: "#1f6fd6", torch: "#e0702e", numpy: "#8a93a3", scipy: "#a66bbe", jax: "#2f9e6e", onnxruntime: "#c2a300",
    oneDNN: "#d0518f", "scikit-learn": "#5aa9b8", "plain Cython": "#7b5b3a",
  };
  // What is no library: a pass over the same memory, or a bound.
  const isYardstick = (name) => !(name in COLOURS);
  const figure = document.querySelector("figure.chart");
  if (!figure) return;
  const data = JSON.parse(document.querySelector("script.chart-data").textContent);
  const make = (tag, properties, parent) => parent.appendChild(Object.assign(document.createElement(tag), properties));

  const form = make("form", { className: "chart-choice" }, figure);
  const choose = (label, options) => {
    const select = make("select", {}, make("label", { textContent: `${label} ` }, form));
    for (const option of options) make("option", { textContent: option, value: option }, select);
    select.addEventListener("change", draw);
    return select;
  };
  const place = make("div", { className: "chart-place" }, figure);
  const group = choose(data.unit === "ulp" ? "dtype" : "kernels", Object.keys(data.groups));
  const table = choose("table", Object.keys(Object.values(data.groups)[0]));
  const measure = data.unit === "ulp" ? null : choose("shown", ["time", "times as long as softmax_cy"]);

  // A label in lines of at most so many letters, if its words allow it.
  const wrap = (text, letters) => text.split(" ").reduce((lines, word) => {
    const longer = `${lines.at(-1)} ${word}`.trim();
    return longer.length <= letters ? [...lines.slice(0, -1), longer] : [...lines, word];
  }, [""]).filter(Boolean).join("<br>");

  function draw() {
    const shown = data.groups[group.value][table.value] || Object.values(data.groups[group.value])[0];
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ours = shown.values.softmax_cy;
    const relative = measure && measure.selectedIndex === 1;
    const narrow = place.clientWidth < 600;
    const labels = shown.cases.map((name) => wrap(name, narrow ? 20 : 26));
    const traces = Object.entries(shown.values)
      .filter(([name]) => !(relative && name === "softmax_cy"))
      .map(([name, values]) => ({
        type: "bar", name, orientation: narrow ? "h" : "v",
        [narrow ? "y" : "x"]: labels,
        [narrow ? "x" : "y"]: values.map((value, i) => value === null ? null : relative ? value / ours[i] : value),
        marker: isYardstick(name)
          ? { color: "rgba(0,0,0,0)", line: { color: colour("--pst-color-text-muted"), width: 1.5 } }
          : { color: COLOURS[name] },
        hovertemplate: `%{${narrow ? "y" : "x"}}<br>${name}: %{${narrow ? "x" : "y"}:.3g}<extra></extra>`,
      }));
    const numbers = {
      type: "log", dtick: 1, exponentformat: "power", tickangle: 0, tickfont: { size: narrow ? 11 : 13 },
      title: { text: relative ? "times as long as softmax_cy" : shown.axis }, side: narrow ? "top" : "left",
      gridcolor: colour("--pst-color-border"), zeroline: false, automargin: true,
    };
    const cases = {
      automargin: true, tickfont: { size: 11 }, tickangle: narrow ? 0 : "auto", autorange: narrow ? "reversed" : true,
    };
    const height = narrow ? 180 + 15 * shown.cases.length * traces.length : 520;
    const layout = {
      height,
      margin: { t: 20, r: 10, l: 50, b: 40 }, barmode: "group", bargap: 0.25,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--pst-color-text-base") },
      legend: { orientation: "h", y: narrow ? 1 + 85 / height : 1.02, yanchor: "bottom" }, hovermode: "closest",
      [narrow ? "xaxis" : "yaxis"]: numbers, [narrow ? "yaxis" : "xaxis"]: cases,
      shapes: relative ? [{
        type: "line", line: { color: COLOURS.softmax_cy, width: 2, dash: "dot" },
        ...(narrow ? { x0: 1, x1: 1, y0: 0, y1: 1, yref: "paper" } : { y0: 1, y1: 1, x0: 0, x1: 1, xref: "paper" }),
      }] : [],
    };
    Plotly.react(place, traces, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  draw();
  new MutationObserver(draw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  let width = place.clientWidth;
  window.addEventListener("resize", () => {
    if ((width < 600) !== (place.clientWidth < 600)) draw();
    width = place.clientWidth;
  });
})();
