// The interactive plots. uPlot does scales, axes, zoom and resizing; what is drawn on them is drawn here, because a
// point has a marker of its own, a bar of its repeats, and may be faded. Data: #chart-data, made by reports/src/html.rs.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const color = (series) => css(`--s${series % 7}`);
  const by = (id) => document.getElementById(id);

  // Corners of each series' marker in radii, in the order of the static plots; none is a circle.
  const SHAPES = [
    null,
    [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    [[0, -1.25], [1.15, 0.85], [-1.15, 0.85]],
    [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
    [[0, 1.25], [1.15, -0.85], [-1.15, -0.85]],
    [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]],
    [[-1.15, 0], [-0.58, -1], [0.58, -1], [1.15, 0], [0.58, 1], [-0.58, 1]],
  ];

  // Every round through the colours moves the shapes on by one, as in the static plots.
  const shapeOf = (series) => SHAPES[(series + Math.floor(series / 7)) % SHAPES.length];

  const trim = (value, digits) => String(Number(value.toPrecision(digits)));
  const group = (value) => Math.round(value).toLocaleString("en-US");
  const showQps = (value) => (value >= 100 ? group(value) : trim(value, 3));
  const showNs = (ns) => {
    for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) if (ns >= size) return `${trim(ns / size, 3)} ${unit}`;
    return `${trim(ns, 3)} ns`;
  };
  const shortQps = (value) => {
    for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= size) return trim(value / size, 3) + unit;
    return trim(value, 3);
  };

  const RECALLS = [0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999, 1];
  const ROUND = new Set([0.5, 0.9, 0.95, 0.99, 0.999, 1]);

  // An axis on which what is missing to 1 is logarithmic, and 1 itself has a place.
  function recallScale(values) {
    const misses = values.map((value) => 1 - value).filter((miss) => miss > 1e-12);
    const miss = misses.length ? Math.min(3e-3, Math.max(1e-5, Math.min(...misses) / 3)) : 3e-3;
    const fwd = (value) => -Math.log10(1 - Math.min(1, value) + miss);
    const bwd = (place) => 1 + miss - 10 ** -place;
    const least = Math.min(...values);
    const low = Math.min(0.9, [...RECALLS].reverse().find((tick) => tick <= least) ?? 0);
    const high = Math.max(...values) > 1 - 1e-12 ? 1 : RECALLS.find((tick) => tick >= Math.max(...values));
    const room = (fwd(high) - fwd(low)) * 0.02;
    return { fwd, bwd, range: [low, bwd(fwd(high) + room)], ticks: RECALLS, first: ROUND };
  }

  function logTicks(low, high) {
    const all = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
      for (const digit of [1, 2, 3, 5]) all.push(digit * 10 ** decade);
    }
    return all;
  }

  // The ticks between min and max that stand at least `gap` pixels apart, those in `first` before the others.
  function thin(ticks, min, max, gap, place, first) {
    const inside = ticks.filter((tick) => tick >= min - 1e-12 && tick <= max + 1e-12);
    const kept = [];
    const order = [...inside].sort((a, b) => first(b) - first(a) || a - b);
    for (const tick of order) if (kept.every((other) => Math.abs(place(other) - place(tick)) >= gap)) kept.push(tick);
    return kept.sort((a, b) => a - b);
  }

  function drawMarker(ctx, series, x, y, radius, fill) {
    const shape = shapeOf(series);
    ctx.beginPath();
    if (shape) shape.forEach(([dx, dy], at) => ctx[at ? "lineTo" : "moveTo"](x + dx * radius, y + dy * radius));
    else ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.closePath();
    ctx.lineWidth = 2.4 * devicePixelRatio;
    ctx.strokeStyle = css("--paper");
    ctx.stroke();
    ctx.fillStyle = fill;
    ctx.fill();
  }

  // The points that no other of `points` beats in both.
  function front(points, higher) {
    const better = (a, b) => (higher ? a > b : a < b);
    const sorted = [...points].sort((a, b) => b.x - a.x || (better(a.y[1], b.y[1]) ? -1 : 1));
    const kept = new Set();
    let best = null;
    for (const point of sorted) {
      if (best === null || better(point.y[1], best.y[1]) || (point.x === best.x && point.y[1] === best.y[1])) {
        kept.add(point);
        best = point;
      }
    }
    return kept;
  }

  const tip = by("tip");
  function showTip(point, event) {
    const title = document.createElement("b");
    title.textContent = point.title;
    const list = document.createElement("dl");
    for (const [name, value] of point.rows) {
      const term = document.createElement("dt");
      term.textContent = name;
      const cell = document.createElement("dd");
      cell.textContent = value;
      list.append(term, cell);
    }
    tip.replaceChildren(title, list);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const x = event.clientX + 14 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
    const y = event.clientY + 14 + box.height > innerHeight ? event.clientY - 14 - box.height : event.clientY + 14;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  }

  const charts = [];

  // A chart in `element` of what `source()` gives: {points: [{s, x, y: [low, middle, high], title, rows}], scale, higher,
  // label, short, all}. `all` draws every point as part of its line.
  function chart(element, source) {
    let plot = null;
    let current = null;
    let fronts = new Map();
    let hovered = null;

    function drawAll(u) {
      const ctx = u.ctx;
      const px = devicePixelRatio;
      const place = (point, value) => [u.valToPos(point.x, "x", true), u.valToPos(value, "y", true)];
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left - 8 * px, u.bbox.top - 8 * px, u.bbox.width + 16 * px, u.bbox.height + 16 * px);
      ctx.clip();
      for (const [series, points] of fronts) {
        const stroke = color(series);
        const faded = points.all.filter((point) => !points.front.has(point));
        ctx.globalAlpha = 0.28;
        for (const point of faded) drawMarker(ctx, series, ...place(point, point.y[1]), 3.6 * px, stroke);
        ctx.globalAlpha = 1;
        const line = points.all.filter((point) => points.front.has(point)).sort((a, b) => a.x - b.x);
        ctx.strokeStyle = stroke;
        ctx.lineWidth = 2 * px;
        ctx.beginPath();
        line.forEach((point, at) => ctx[at ? "lineTo" : "moveTo"](...place(point, point.y[1])));
        ctx.stroke();
        for (const point of line) {
          const [x, y] = place(point, point.y[1]);
          for (const end of [place(point, point.y[0])[1], place(point, point.y[2])[1]]) {
            // A bar that ends under its marker would only blur the marker's edge.
            if (Math.abs(end - y) < 7 * px) continue;
            ctx.strokeStyle = stroke;
            ctx.lineWidth = 1.3 * px;
            ctx.beginPath();
            ctx.moveTo(x, y);
            ctx.lineTo(x, end);
            ctx.moveTo(x - 3.5 * px, end);
            ctx.lineTo(x + 3.5 * px, end);
            ctx.stroke();
          }
          drawMarker(ctx, series, ...place(point, point.y[1]), 4.6 * px, stroke);
        }
      }
      if (hovered) {
        const [x, y] = place(hovered, hovered.y[1]);
        ctx.beginPath();
        ctx.arc(x, y, 9 * px, 0, 2 * Math.PI);
        ctx.strokeStyle = css("--ink");
        ctx.lineWidth = 1.5 * px;
        ctx.stroke();
      }
      ctx.restore();
    }

    function nearest(u, event) {
      const box = u.over.getBoundingClientRect();
      let best = null;
      let distance = 26;
      for (const point of current.points) {
        const dx = u.valToPos(point.x, "x") - (event.clientX - box.left);
        const dy = u.valToPos(point.y[1], "y") - (event.clientY - box.top);
        const gap = Math.hypot(dx, dy);
        if (gap < distance) {
          distance = gap;
          best = point;
        }
      }
      return best;
    }

    function listen(u) {
      const hover = (event) => {
        const found = nearest(u, event);
        if (found !== hovered) {
          hovered = found;
          u.redraw(false);
        }
        if (found) showTip(found, event);
        else tip.hidden = true;
      };
      u.over.addEventListener("pointermove", hover);
      u.over.addEventListener("pointerdown", hover);
      u.over.addEventListener("pointerleave", () => {
        hovered = null;
        tip.hidden = true;
        u.redraw(false);
      });
    }

    function make() {
      if (plot) plot.destroy();
      plot = null;
      element.replaceChildren();
      hovered = null;
      current = source();
      if (!current || !current.points.length) return;
      fronts = new Map();
      for (const point of current.points) {
        if (!fronts.has(point.s)) fronts.set(point.s, { all: [] });
        fronts.get(point.s).all.push(point);
      }
      for (const points of fronts.values()) points.front = current.all ? new Set(points.all) : front(points.all, current.higher);
      const { scale } = current;
      const values = current.points.flatMap((point) => point.y).filter((value) => value > 0);
      const margin = Math.max(1.12, (Math.max(...values) / Math.min(...values)) ** 0.05);
      const yRange = [Math.min(...values) / margin, Math.max(...values) * margin];
      const width = element.clientWidth;
      const axis = () => ({
        stroke: () => css("--muted"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
        grid: { stroke: () => css("--line"), width: 1 }, ticks: { stroke: () => css("--line"), width: 1, size: 5 },
        filter: (u, splits) => splits,
      });
      const sorted = [...current.points].sort((a, b) => a.x - b.x);
      // uPlot asks with the ends of the data for the whole axis, and with other ends after a zoom.
      const [first, last] = [sorted[0].x, sorted[sorted.length - 1].x];
      const xRange = (u, min, max) => (min === first && max === last ? scale.range : [min, max]);
      plot = new uPlot({
        width,
        height: Math.max(280, Math.min(430, width * 0.72)),
        padding: [12, 14, 0, 0],
        legend: { show: false },
        cursor: { points: { show: false }, x: false, y: false, drag: { x: true, y: true, uni: 24 } },
        scales: {
          x: { time: false, distr: 100, fwd: scale.fwd, bwd: scale.bwd, range: xRange },
          y: { distr: 3, range: () => yRange },
        },
        axes: [
          {
            ...axis(), label: current.label, labelSize: 22, size: 34,
            splits: (u, at, min, max) => thin(scale.ticks, min, max, 50, (tick) => u.valToPos(tick, "x"), (tick) => scale.first.has(tick)),
            values: (u, splits) => splits.map((tick) => (scale.name ? scale.name(tick) : trim(tick, 5))),
          },
          {
            ...axis(), size: 58,
            splits: (u, at, min, max) => thin(logTicks(min, max), min, max, 26, (tick) => u.valToPos(tick, "y"), (tick) => Number.isInteger(Math.log10(tick))),
            values: (u, splits) => splits.map(current.short),
          },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [drawAll], ready: [listen] },
      }, [sorted.map((point) => point.x), sorted.map((point) => point.y[1])], element);
    }

    let width = 0;
    new ResizeObserver(() => {
      if (Math.abs(element.clientWidth - width) > 4) {
        width = element.clientWidth;
        make();
      }
    }).observe(element);
    const handle = { make };
    charts.push(handle);
    return handle;
  }

  // The series that are shown; null shows all.
  function legend(element, names, isolated, isolate) {
    const old = [...element.children].indexOf(document.activeElement);
    const buttons = names.map(([series, name]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(isolated === null || isolated === series));
      const shape = shapeOf(series);
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "-9 -6 18 12");
      svg.setAttribute("width", "22");
      svg.setAttribute("height", "14");
      svg.setAttribute("aria-hidden", "true");
      const mark = shape
        ? `<polygon points="${shape.map(([x, y]) => `${x * 4},${y * 4}`).join(" ")}"/>`
        : '<circle r="4"/>';
      svg.innerHTML = `<path d="M-9 0H9" stroke-width="2"/>${mark}`;
      svg.style.fill = svg.style.stroke = `var(--s${series % 7})`;
      const text = document.createElement("span");
      text.textContent = name;
      button.append(svg, text);
      button.addEventListener("click", () => isolate(isolated === series ? null : series));
      return button;
    });
    element.replaceChildren(...buttons);
    if (old >= 0 && buttons[old]) buttons[old].focus();
  }

  function tipRows(setting, point) {
    const rows = [["recall", trim(point.r, 6)], ["QPS", showQps(point.q[1])]];
    if (point.q[0] !== point.q[2]) rows.push(["QPS min–max", `${showQps(point.q[0])}–${showQps(point.q[2])}`]);
    if (point.p50) rows.push(["p50", showNs(point.p50)]);
    if (point.p) rows.push(["p99", showNs(point.p[1])]);
    rows.push(["worst query", trim(point.min, 4)], ["repeats", String(point.n)]);
    if (point.bs !== null) rows.push(["build", `${trim(point.bs, 3)} s`]);
    return [...point.t, ...rows];
  }

  if (by("setting") && data.settings.length) {
    let chosen = 0;
    let key = by("series-by").value;
    let isolated = null;
    const names = () => {
      const used = new Set(data.settings[chosen].points.map((point) => point[key]));
      return data.series[key].map((name, series) => [series, name]).filter(([series]) => used.has(series));
    };
    const gather = (measure) => data.settings[chosen].points
      .filter((point) => point[measure] && (isolated === null || point[key] === isolated))
      .map((point) => ({
        s: point[key], x: point.r, y: point[measure], title: data.series[key][point[key]], rows: tipRows(data.settings[chosen], point),
      }));
    const source = (measure, higher, short) => () => {
      const points = gather(measure);
      if (!points.length) return null;
      // One series alone keeps the axes of all, so that it can be found again.
      const recalls = data.settings[chosen].points.filter((point) => point[measure]).map((point) => point.r);
      return { points, higher, short, scale: recallScale(recalls), label: `recall@${data.settings[chosen].k}` };
    };
    chart(by("chart-qps"), source("q", true, shortQps));
    chart(by("chart-p99"), source("p", false, showNs));
    const refresh = () => {
      const timed = data.settings[chosen].points.some((point) => point.p);
      by("figure-p99").hidden = !timed;
      by("figure-p99").parentElement.classList.toggle("alone", !timed);
      legend(by("legend"), names(), isolated, (series) => {
        isolated = series;
        refresh();
      });
      charts.forEach((one) => one.make());
    };
    by("setting").addEventListener("change", (event) => {
      chosen = Number(event.target.value);
      isolated = null;
      refresh();
    });
    by("series-by").addEventListener("change", (event) => {
      key = event.target.value;
      isolated = null;
      refresh();
    });

    if (by("chart-distribution")) {
      let alone = null;
      const ticks = [0.5, 0.9, 0.95, 0.99, 0.999, 1];
      const name = new Map([[0.5, "p50"], [0.9, "p90"], [0.95, "p95"], [0.99, "p99"], [0.999, "p99.9"], [1, "max"]]);
      const miss = 2.5e-4;
      const scale = {
        fwd: (value) => -Math.log10(1 - Math.min(1, value) + miss), bwd: (place) => 1 + miss - 10 ** -place,
        range: [0.5, 1], ticks, first: new Set(ticks), name: (tick) => name.get(tick) ?? "",
      };
      const shown = () => data.settings[chosen].distributions;
      const refreshDistribution = () => legend(by("legend-distribution"), shown().map((one, at) => [at, one.name]), alone, (series) => {
        alone = series;
        refreshDistribution();
        distribution.make();
      });
      const distribution = chart(by("chart-distribution"), () => {
        if (alone !== null && alone >= shown().length) alone = null;
        refreshDistribution();
        const points = shown().flatMap((one, at) => (alone === null || alone === at ? one.v.map(([share, ns]) => ({
          s: at, x: share, y: [ns, ns, ns], title: one.name, rows: one.v.map(([share, ns]) => [name.get(share), showNs(ns)]),
        })) : []));
        return { points, all: true, higher: false, scale, label: "percentile of queries", short: showNs };
      });
    }
    refresh();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((one) => one.make()));
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  by("download")?.addEventListener("click", () => {
    const columns = JSON.parse(by("rows").textContent);
    const cell = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [columns.map(([name]) => cell(name)).join(",")];
    for (let row = 0; row < (columns[0]?.[1].length ?? 0); row++) lines.push(columns.map(([, cells]) => cell(cells[row])).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "results.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
