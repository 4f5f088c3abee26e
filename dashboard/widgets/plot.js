// Small charts in SVG: lines with bands (and a size marker to drag), points with whiskers, bars. Texts: textContent only.
const NS = "http://www.w3.org/2000/svg";

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const number = (v) => (v === null ? "—" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3)).replace("-", "−"));
  const longest = Math.max(...data.y.ticks.map((t) => number(t).length));
  const H = data.height ?? 240, left = Math.max(52, 26 + 7 * longest), right = data.marker ? 14 : 10, top = 12, bottom = data.marker ? 62 : 40;
  let W = 0;

  function add(parent, kind, attributes = {}, text) {
    const e = document.createElementNS(NS, kind);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    parent.append(e);
    return e;
  }

  function scale(axis, from, to) {
    const f = axis.log ? (v) => Math.log(v) : (v) => v;
    const a = f(axis.min), b = f(axis.max);
    return (v) => from + ((f(v) - a) / (b - a || 1)) * (to - from);
  }

  function axes(svg, x, y) {
    for (const t of data.y.ticks) {
      add(svg, "line", { class: t === 0 ? "axis" : "grid", x1: left, x2: W - right, y1: y(t), y2: y(t) });
      add(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, number(t));
    }
    add(svg, "line", { class: "axis", x1: left, x2: W - right, y1: H - bottom, y2: H - bottom });
    let last = -99;
    for (const t of data.x.ticks) {
      if (x(t) - last < 34) continue;
      last = x(t);
      add(svg, "line", { class: "axis", x1: x(t), x2: x(t), y1: H - bottom, y2: H - bottom + 4 });
      add(svg, "text", { x: x(t), y: H - bottom + 17, "text-anchor": "middle" }, number(t));
    }
    add(svg, "text", { x: (left + W - right) / 2, y: H - (data.marker ? 26 : 4), "text-anchor": "middle" }, data.x.label);
    if (data.y.label) add(svg, "text", { transform: `translate(12 ${(top + H - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, data.y.label);
  }

  function lines(svg, x, y) {
    const clip = (v) => Math.max(top, Math.min(H - bottom, y(v)));
    data.series.forEach((s, i) => {
      const banded = s.points.filter((p) => p.lower !== null && p.lower !== undefined);
      if (banded.length > 1) {
        const up = banded.map((p) => `${x(p.x)},${clip(p.upper)}`), down = banded.map((p) => `${x(p.x)},${clip(p.lower)}`).reverse();
        add(svg, "polygon", { class: `band s${s.style ?? i}`, points: [...up, ...down].join(" ") });
      }
    });
    data.series.forEach((s, i) => {
      const k = `s${s.style ?? i}`;
      add(svg, "path", { class: `series ${k} ${s.dash ? `dash${s.dash}` : ""}`, d: "M" + s.points.map((p) => `${x(p.x)} ${clip(p.y)}`).join("L") });
      if (!s.bare) for (const p of s.points) hover(add(svg, "circle", { class: `dot ${k}`, cx: x(p.x), cy: clip(p.y), r: 2.6 }), p.text);
    });
  }

  function points(svg, x, y) {
    if (data.diagonal) add(svg, "line", { class: "diagonal", x1: x(data.x.min), y1: y(data.x.min), x2: x(data.x.max), y2: y(data.x.max) });
    for (const p of data.points) {
      if (p.lower !== null && p.lower !== undefined) add(svg, "line", { class: `whisker s${p.style ?? 0}`, x1: x(p.x), x2: x(p.x), y1: y(p.lower), y2: y(p.upper) });
      if (p.left !== undefined) add(svg, "line", { class: `whisker s${p.style ?? 0}`, x1: x(p.left), x2: x(p.right), y1: y(p.y), y2: y(p.y) });
      const dot = mark(svg, p, x(p.x), y(p.y));
      if (p.label) add(svg, "text", { x: x(p.x), y: y(p.y) - 9, "text-anchor": "middle" }, p.label);
      hover(dot, p.text);
      if (p.id) { dot.style.cursor = "pointer"; dot.addEventListener("click", () => setTriggerValue("pick", p.id)); }
    }
  }

  // A circle, or a polygon for what must be told apart without colour; `fill` is full, pale or hollow.
  function mark(svg, p, x, y) {
    const kind = { class: `dot s${p.style ?? 0} ${p.fill ?? ""}` };
    if (!p.corners) return add(svg, "circle", { ...kind, cx: x, cy: y, r: p.radius ?? (p.selected ? 6 : 3.2) });
    const turn = p.corners === 4 ? Math.PI / 4 : -Math.PI / 2, at = (i) => turn + (2 * Math.PI * i) / p.corners;
    const corner = (_, i) => `${x + 6.4 * Math.cos(at(i))},${y + 6.4 * Math.sin(at(i))}`;
    return add(svg, "polygon", { ...kind, points: Array.from({ length: p.corners }, corner).join(" ") });
  }

  function bars(svg, x, y) {
    for (const b of data.bars)
      hover(add(svg, "rect", { class: "bar", x: x(b.from) + 0.5, width: Math.max(1, x(b.to) - x(b.from) - 1), y: y(b.y), height: Math.max(0, y(0) - y(b.y)) }), b.text);
  }

  function hover(element, text) {
    if (!text) return;
    const tip = root.querySelector(".tip");
    element.addEventListener("pointerenter", () => {
      const box = element.getBoundingClientRect(), frame = root.getBoundingClientRect();
      tip.textContent = text;
      tip.style.display = "block";
      tip.style.left = `${Math.max(0, Math.min(box.left - frame.left + 8, frame.width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${box.top - frame.top - tip.offsetHeight - 6}px`;
    });
    element.addEventListener("pointerleave", () => (tip.style.display = "none"));
  }

  // The size slider: a native range input under the curve, on the curve's own (logarithmic) axis.
  function marker(svg, x) {
    const m = data.marker, steps = 400;
    const line = add(svg, "line", { class: "marker", y1: top, y2: H - bottom });
    const label = add(svg, "text", { class: "label", y: top - 1, "text-anchor": "middle" });
    const f = data.x.log ? Math.log : (v) => v, g = data.x.log ? Math.exp : (v) => v;
    const a = f(data.x.min), b = f(data.x.max);
    const size = (s) => Math.round(g(a + (s / steps) * (b - a)));
    const place = (v) => {
      const at = x(Math.max(data.x.min, Math.min(data.x.max, v)));
      line.setAttribute("x1", at); line.setAttribute("x2", at);
      label.setAttribute("x", Math.max(left + 30, Math.min(W - right - 30, at)));
      label.textContent = `${v} ${m.unit}`;
    };
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: steps, step: 1, className: "range" });
    input.value = Math.round(((f(Math.max(data.x.min, m.value)) - a) / (b - a || 1)) * steps);
    input.setAttribute("aria-label", m.label);
    input.setAttribute("aria-valuetext", `${m.value} ${m.unit}`);
    Object.assign(input.style, { left: `${left - 8}px`, width: `${W - left - right + 16}px`, top: `${H - 20}px` });
    input.addEventListener("input", () => { place(size(+input.value)); input.setAttribute("aria-valuetext", `${size(+input.value)} ${m.unit}`); });
    input.addEventListener("change", () => setTriggerValue("size", size(+input.value)));
    root.append(input);
    place(m.value);
  }

  function draw() {
    W = Math.max(220, root.clientWidth);
    const tip = document.createElement("div");
    tip.className = "tip";
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.setAttribute("height", H);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", data.alt);
    root.replaceChildren(svg, tip);
    const x = scale(data.x, left, W - right), y = scale(data.y, H - bottom, top);
    axes(svg, x, y);
    if (data.series) lines(svg, x, y);
    if (data.points) points(svg, x, y);
    if (data.bars) bars(svg, x, y);
    if (data.marker) marker(svg, x);
  }

  draw();
  const observer = new ResizeObserver(() => { if (Math.abs(root.clientWidth - W) > 2 && root.clientWidth > 0) draw(); });
  observer.observe(root);
  return () => observer.disconnect();
}
