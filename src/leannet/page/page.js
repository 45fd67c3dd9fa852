"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const PAPER_WIDTH = 640; // pixels of a figure that is printed

  // Tables: a button in a head sorts by its column, first as its data-first says, then the other way round.
  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const said = document.createElement("p");
    said.className = "soft";
    said.setAttribute("role", "status");
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const order = now ? (now === "ascending" ? "descending" : "ascending") : head.dataset.first || "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => compared(a.cells[column], b.cells[column], order)));
        said.textContent = `Sorted by ${button.textContent}, ${order}.`;
      });
    });
    table.parentElement.after(said);
  }

  // What is not known stands last in either order.
  function compared(one, other, order) {
    const [a, b] = [one, other].map((cell) => cell.dataset.value ?? cell.textContent.trim());
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    const way = order === "ascending" ? 1 : -1;
    return way * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y);
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function theme() {
    const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false, automargin: true };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 },
        xaxis: axis,
        yaxis: axis,
        hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      },
      data: {
        heatmap: [{
          colorscale: [[0, colour("--paper")], [1, colour("--strong")]],
          colorbar: { outlinewidth: 0, thickness: 12 },
        }],
      },
    };
  }

  // Labels beside points would lie on each other on a telephone; the legend names them there.
  function fitted(traces) {
    if (!narrow.matches) return traces;
    return traces.map((trace) => ({ ...trace, mode: trace.mode && trace.mode.replace("+text", "") }));
  }

  const figures = [...document.querySelectorAll("script.plotted")].map((script) => ({
    place: document.getElementById(script.dataset.for),
    ...JSON.parse(script.textContent),
  }));

  function draw(width) {
    const template = theme();
    for (const { place, data, layout } of figures) {
      const own = { dragmode: false, ...structuredClone(layout), template, ...(width ? { width } : { autosize: true }) };
      const config = {
        responsive: !width,
        displaylogo: false,
        modeBarButtonsToRemove: ["zoom2d", "pan2d", "select2d", "lasso2d", "autoScale2d"],
      };
      Plotly.react(place, fitted(structuredClone(data)), own, config);
    }
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  if (!figures.length) return;
  draw();
  for (const query of [dark, narrow]) query.addEventListener("change", () => draw());
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    draw(PAPER_WIDTH);
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    draw();
  });
})();
