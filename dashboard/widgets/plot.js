// Small charts in SVG: lines with bands, points with whiskers, bars, a size marker to drag. Texts: textContent only.
// The nearest mark within reach of the pointer tells its values; with the keyboard, arrows walk the marks and Enter picks.
const NS = "http://www.w3.org/2000/svg";
const REACH = 26;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const number = (v) => (v === null ? "—" : (Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3))).replace("-", "−"));
  const written = (axis, t) => (axis.names ? (axis.names[t] ?? "") : axis.percent ? `${number(100 * t)} %` : number(t));
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const widest = (axis) => Math.max(...axis.ticks.map((t) => cut(written(axis, t), 30).length));
  const H = data.height ?? 240, top = data.lines?.some((l) => l.label) || data.marker ? 16 : 12, bottom = data.marker ? 62 : 40;
  const left = Math.max(52, 26 + (data.y.names ? 6.6 : 7) * widest(data.y));
  const right = data.right ? 26 + 7 * widest(data.right) + (data.right.label ? 14 : 0) : data.marker ? 14 : 10;
  let W = 0, marks = [], at = -1;

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
      add(svg, "line", { class: t === 0 && !data.y.names ? "axis" : "grid", x1: left, x2: W - right, y1: y(t), y2: y(t) });
      add(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, cut(written(data.y, t), 30));
    }
    add(svg, "line", { class: "axis", x1: left, x2: W - right, y1: H - bottom, y2: H - bottom });
    let last = -99;
    for (const t of data.x.ticks) {
      const said = written(data.x, t), room = 3.3 * said.length + 6;
      if (x(t) - last < room || x(t) < left - 1 || x(t) > W - right + 1) continue;
      last = x(t) + room;
      add(svg, "line", { class: "axis", x1: x(t), x2: x(t), y1: H - bottom, y2: H - bottom + 4 });
      add(svg, "text", { x: x(t), y: H - bottom + 17, "text-anchor": "middle" }, said);
    }
    add(svg, "text", { x: (left + W - right) / 2, y: H - (data.marker ? 26 : 4), "text-anchor": "middle" }, data.x.label);
    if (data.y.label) add(svg, "text", { transform: `translate(12 ${(top + H - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, data.y.label);
  }

  function second(svg, y) {
    for (const t of data.right.ticks) add(svg, "text", { x: W - right + 6, y: y(t) + 4 }, written(data.right, t));
    add(svg, "line", { class: "axis", x1: W - right, x2: W - right, y1: top, y2: H - bottom });
    if (data.right.label) add(svg, "text", { transform: `translate(${W - 6} ${(top + H - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, data.right.label);
  }

  function lines(svg, x, of) {
    const clip = (s, v) => Math.max(top, Math.min(H - bottom, of(s)(v)));
    data.series.forEach((s, i) => {
      const banded = s.points.filter((p) => p.lower !== null && p.lower !== undefined);
      if (banded.length > 1) {
        const up = banded.map((p) => `${x(p.x)},${clip(s, p.upper)}`), down = banded.map((p) => `${x(p.x)},${clip(s, p.lower)}`).reverse();
        add(svg, "polygon", { class: `band s${s.style ?? i}`, points: [...up, ...down].join(" ") });
      }
    });
    data.series.forEach((s, i) => {
      const k = `s${s.style ?? i}`, dash = s.dash ? `dash${s.dash}` : "";
      if (!s.loose) add(svg, "path", { class: `series ${k} ${dash}`, d: "M" + s.points.map((p) => `${x(p.x)} ${clip(s, p.y)}`).join("L") });
      for (const p of s.points) {
        if (s.loose) mark(svg, { ...p, style: s.style ?? i, corners: s.corners, fill: s.fill }, x(p.x), clip(s, p.y));
        else if (!s.bare) add(svg, "circle", { class: `dot ${k}`, cx: x(p.x), cy: clip(s, p.y), r: 2.6 });
        if (p.text) marks.push({ x: x(p.x), y: clip(s, p.y), text: p.text, id: p.id });
      }
    });
  }

  function points(svg, x, y) {
    if (data.diagonal) {
      const a = Math.max(data.x.min, data.y.min), b = Math.min(data.x.max, data.y.max);
      add(svg, "line", { class: "diagonal", x1: x(a), y1: y(a), x2: x(b), y2: y(b) });
    }
    for (const p of data.points) {
      if (p.lower !== null && p.lower !== undefined) add(svg, "line", { class: `whisker s${p.style ?? 0}`, x1: x(p.x), x2: x(p.x), y1: y(p.lower), y2: y(p.upper) });
      if (p.left !== null && p.left !== undefined) add(svg, "line", { class: `whisker s${p.style ?? 0}`, x1: x(p.left), x2: x(p.right), y1: y(p.y), y2: y(p.y) });
    }
    for (const p of data.points) {
      mark(svg, p, x(p.x), y(p.y));
      if (p.label) add(svg, "text", { x: x(p.x), y: y(p.y) - 9, "text-anchor": "middle" }, p.label);
      if (p.text) marks.push({ x: x(p.x), y: y(p.y), text: p.text, id: p.id });
    }
  }

  // A circle, or a polygon for what must be told apart without colour; `fill` is full, pale or hollow.
  function mark(svg, p, x, y) {
    const kind = { class: `dot s${p.style ?? 0} ${p.fill ?? ""} ${p.selected ? "selected" : ""}` }, size = p.radius ?? (p.selected ? 6 : 3.2);
    if (!p.corners) return add(svg, "circle", { ...kind, cx: x, cy: y, r: size });
    const turn = p.corners === 4 ? Math.PI / 4 : -Math.PI / 2, angle = (i) => turn + (2 * Math.PI * i) / p.corners, r = 1.25 * size;
    const corner = (_, i) => `${x + r * Math.cos(angle(i))},${y + r * Math.sin(angle(i))}`;
    return add(svg, "polygon", { ...kind, points: Array.from({ length: p.corners }, corner).join(" ") });
  }

  function bars(svg, x, y) {
    const floor = Math.min(H - bottom, y(Math.max(0, data.y.min)));
    for (const b of data.bars) {
      const width = Math.max(1, x(b.to) - x(b.from) - 1), head = Math.min(y(b.y), floor);
      add(svg, "rect", { class: `bar s${b.style ?? 0}`, x: x(b.from) + 0.5, width, y: head, height: Math.max(b.y ? 1 : 0, Math.abs(y(b.y) - floor)) });
      if (b.text) marks.push({ x: x(b.from) + width / 2, y: head, half: width / 2 + 1, text: b.text, id: b.id });
    }
  }

  // Lines across the chart with a name, such as a knee or the strength of the prompt in view.
  function across(svg, x) {
    data.lines.forEach((l, i) => {
      const place = x(Math.max(data.x.min, Math.min(data.x.max, l.x))), turn = place > (left + W - right) / 2;
      add(svg, "line", { class: `across ${l.dash ?? ""}`, x1: place, x2: place, y1: top, y2: H - bottom });
      add(svg, "text", { class: "label", x: place + (turn ? -4 : 4), y: top + 10 + 14 * i, "text-anchor": turn ? "end" : "start" }, l.label);
      if (l.text) marks.push({ x: place, y: top + 10 + 14 * i, text: l.text });
    });
  }

  // The size slider: a native range input under the curve, on the curve's own (logarithmic) axis.
  function marker(svg, x) {
    const m = data.marker, steps = 400;
    const line = add(svg, "line", { class: "marker", y1: top, y2: H - bottom });
    const label = add(svg, "text", { class: "label", y: top - 4, "text-anchor": "middle" });
    const f = data.x.log ? Math.log : (v) => v, g = data.x.log ? Math.exp : (v) => v;
    const a = f(data.x.min), b = f(data.x.max);
    const size = (s) => Math.round(g(a + (s / steps) * (b - a)));
    const place = (v) => {
      const here = x(Math.max(data.x.min, Math.min(data.x.max, v)));
      line.setAttribute("x1", here); line.setAttribute("x2", here);
      label.setAttribute("x", Math.max(left + 30, Math.min(W - right - 30, here)));
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
    svg.after(input);
    place(m.value);
  }

  function nearest(event, svg) {
    const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const far = (m) => (m.half ? (Math.abs(px - m.x) <= m.half ? 0 : Infinity) : Math.hypot(px - m.x, py - m.y));
    let best = -1, least = REACH;
    marks.forEach((m, i) => { const d = far(m); if (d < least) { least = d; best = i; } });
    return best;
  }

  function tell(svg, index) {
    const tip = root.querySelector(".tip"), ring = svg.querySelector(".ring"), m = marks[index];
    at = index;
    tip.style.display = m ? "block" : "none";
    ring.style.display = m && !m.half ? "inline" : "none";
    svg.style.cursor = m?.id !== undefined ? "pointer" : "";
    if (!m) return;
    ring.setAttribute("cx", m.x); ring.setAttribute("cy", m.y);
    tip.textContent = m.text;
    const above = m.y - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(0, Math.min(m.x + 8, root.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${above < -30 ? m.y + 12 : above}px`;
  }

  function watch(svg) {
    const pick = () => { if (marks[at]?.id !== undefined) setTriggerValue("pick", marks[at].id); };
    svg.addEventListener("pointermove", (event) => tell(svg, nearest(event, svg)));
    svg.addEventListener("pointerleave", () => tell(svg, -1));
    svg.addEventListener("click", (event) => { tell(svg, nearest(event, svg)); pick(); });
    svg.addEventListener("blur", () => tell(svg, -1));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (event.key === "Enter") pick();
      else if (event.key === "Escape") tell(svg, -1);
      else if (step && marks.length) { tell(svg, at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length); event.preventDefault(); }
    });
  }

  function legend() {
    const line = document.createElement("div");
    line.className = "legend";
    for (const entry of data.legend) {
      const part = document.createElement("span"), svg = document.createElementNS(NS, "svg");
      for (const [k, v] of [["width", 26], ["height", 12], ["aria-hidden", "true"]]) svg.setAttribute(k, v);
      if (entry.band) add(svg, "rect", { class: `band s${entry.style}`, x: 0, y: 1, width: 26, height: 10 });
      if (!entry.loose) add(svg, "path", { class: `series s${entry.style} ${entry.dash ? `dash${entry.dash}` : ""}`, d: "M1 6H25" });
      if (entry.loose) mark(svg, { style: entry.style, corners: entry.corners, fill: entry.fill, radius: 4 }, 13, 6);
      part.append(svg, document.createTextNode(entry.name));
      line.append(part);
    }
    return line;
  }

  function draw() {
    W = Math.max(220, root.clientWidth);
    marks = [];
    at = -1;
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    const svg = document.createElementNS(NS, "svg");
    for (const [k, v] of [["viewBox", `0 0 ${W} ${H}`], ["height", H], ["role", "img"], ["aria-label", data.alt]]) svg.setAttribute(k, v);
    root.replaceChildren(svg, ...(data.legend ? [legend()] : []), tip);
    const x = scale(data.x, left, W - right), y = scale(data.y, H - bottom, top);
    const other = data.right ? scale(data.right, H - bottom, top) : y;
    axes(svg, x, y);
    if (data.right) second(svg, other);
    if (data.bars) bars(svg, x, y);
    if (data.series) lines(svg, x, (s) => (s.right ? other : y));
    if (data.points) points(svg, x, y);
    if (data.lines) across(svg, x);
    if (data.marker) marker(svg, x);
    add(svg, "circle", { class: "ring", r: 7, style: "display:none" });
    if (marks.length) { marks.sort((a, b) => a.x - b.x || a.y - b.y); svg.setAttribute("tabindex", "0"); watch(svg); }
  }

  draw();
  const observer = new ResizeObserver(() => { if (Math.abs(root.clientWidth - W) > 2 && root.clientWidth > 0) draw(); });
  observer.observe(root);
  return () => observer.disconnect();
}
