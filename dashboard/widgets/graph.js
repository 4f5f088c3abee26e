// The circuit on a canvas. Hovering and the edges of what is hovered stay in the browser; a click is a trigger.
// Shape is the kind (circle latent, diamond error, square logits), fill is certainty (filled verified, hollow estimated),
// sign is colour and a minus sign in the glyph; edges of negative effect are dashed.
const LEFT = 104, RIGHT = 10, TOP = 8, BOTTOM = 46, REACH = 30;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const H = data.height;
  const index = new Map(data.nodes.map((n, i) => [n.id, i]));
  const touching = data.nodes.map(() => []);
  data.edges.forEach((e, i) => { touching[e[0]].push(i); touching[e[1]].push(i); });
  let W = 0, hovered = -1, colours = {};
  const selected = index.get(data.selected) ?? -1;

  const frame = document.createElement("div"), canvas = document.createElement("canvas"), tip = document.createElement("div");
  frame.className = "frame"; tip.className = "tip";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", data.alt);
  frame.append(canvas, tip);
  const probes = ["paper", "ink", "quiet", "line", "soft", "blue", "red"].map((name) => {
    const p = document.createElement("span");
    p.className = `probe ${name}`;
    frame.append(p);
    return [name, p];
  });
  root.replaceChildren(frame);
  const pen = canvas.getContext("2d");

  const px = (x) => LEFT + x * (W - LEFT - RIGHT), py = (y) => TOP + y * (H - TOP - BOTTOM);
  const radius = (n) => (n.kind === "logit" ? 7 : 3.2 + 6.8 * Math.sqrt(n.size));
  canvas.at = (id) => { const n = data.nodes[index.get(id)]; return n && [px(n.x), py(n.y)]; };

  function size() {
    W = frame.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = W * ratio; canvas.height = H * ratio;
    canvas.style.height = `${H}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function fit(text, width) {
    if (pen.measureText(text).width <= width) return text;
    let cut = text;
    while (cut.length > 1 && pen.measureText(cut + "…").width > width) cut = cut.slice(0, -1);
    return cut + "…";
  }

  function lanes() {
    pen.font = "12px sans-serif";
    data.columns.forEach((c, i) => {
      const a = px(c.begin), b = px(c.end);
      if (i % 2) { pen.fillStyle = colours.soft; pen.fillRect(a, TOP, b - a, H - TOP - BOTTOM); }
      pen.textAlign = "center";
      pen.fillStyle = colours.ink; pen.font = "600 12.5px ui-monospace, 'DejaVu Sans Mono', monospace";
      pen.fillText(fit(c.token, b - a - 4), (a + b) / 2, H - BOTTOM + 18);
      pen.fillStyle = colours.quiet; pen.font = "12px sans-serif";
      pen.fillText(fit(c.name, b - a - 2), (a + b) / 2, H - BOTTOM + 35);
    });
    pen.textAlign = "right";
    for (const r of data.rows) {
      pen.strokeStyle = colours.line; pen.lineWidth = 1; pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(LEFT, py(r.end)); pen.lineTo(W - RIGHT, py(r.end)); pen.stroke();
      pen.fillStyle = colours.quiet;
      pen.fillText(fit(r.name, LEFT - 14), LEFT - 10, (py(r.begin) + py(r.end)) / 2 + 4);
    }
  }

  function edge(e, strong) {
    const s = data.nodes[e[0]], t = data.nodes[e[1]], share = Math.abs(e[2]) / data.top;
    pen.strokeStyle = e[2] >= 0 ? colours.blue : colours.red;
    pen.globalAlpha = (strong ? 0.35 : 0.2) + 0.55 * Math.sqrt(share);
    pen.lineWidth = 0.7 + 3.6 * Math.sqrt(share);
    pen.setLineDash(e[2] >= 0 ? [] : [6, 4]);
    const x1 = px(s.x), y1 = py(s.y), x2 = px(t.x), y2 = py(t.y), bend = (y1 - y2) * 0.45;
    pen.beginPath(); pen.moveTo(x1, y1); pen.bezierCurveTo(x1, y1 - bend, x2, y2 + bend, x2, y2); pen.stroke();
    pen.globalAlpha = 1; pen.setLineDash([]);
  }

  function path(n, r) {
    const x = px(n.x), y = py(n.y);
    pen.beginPath();
    if (n.kind === "error") { pen.moveTo(x, y - r * 1.25); pen.lineTo(x + r * 1.25, y); pen.lineTo(x, y + r * 1.25); pen.lineTo(x - r * 1.25, y); pen.closePath(); }
    else if (n.kind === "logit") pen.rect(x - r, y - r, 2 * r, 2 * r);
    else pen.arc(x, y, r, 0, 7);
  }

  function glyph(n, i, lit) {
    const r = radius(n), colour = n.effect >= 0 ? colours.blue : colours.red;
    pen.globalAlpha = lit ? 1 : 0.28;
    path(n, r);
    pen.fillStyle = n.verified ? colour : colours.paper; pen.fill();
    pen.strokeStyle = colour; pen.lineWidth = 1.5; pen.stroke();
    if (n.effect < 0 && r > 3.4) {
      pen.strokeStyle = n.verified ? colours.paper : colour; pen.lineWidth = 1.5;
      pen.beginPath(); pen.moveTo(px(n.x) - r * 0.5, py(n.y)); pen.lineTo(px(n.x) + r * 0.5, py(n.y)); pen.stroke();
    }
    pen.globalAlpha = 1;
    if (i === selected || i === hovered) {
      path(n, r + 4); pen.strokeStyle = colours.ink; pen.lineWidth = i === selected ? 2.2 : 1.2; pen.stroke();
    }
  }

  function draw() {
    colours = Object.fromEntries(probes.map(([name, p]) => [name, getComputedStyle(p).color]));
    pen.fillStyle = colours.paper; pen.fillRect(0, 0, W, H);
    lanes();
    const focus = [selected, hovered].filter((i) => i >= 0);
    const shown = new Set(focus.flatMap((i) => touching[i]));
    const lit = new Set([...focus, ...[...shown].flatMap((i) => [data.edges[i][0], data.edges[i][1]])]);
    const order = [...shown].sort((a, b) => Math.abs(data.edges[a][2]) - Math.abs(data.edges[b][2]));
    for (const i of order) edge(data.edges[i], hovered < 0 || touching[hovered].includes(i));
    for (let i = data.nodes.length - 1; i >= 0; i--) glyph(data.nodes[i], i, !focus.length || lit.has(i));
  }

  function nearest(x, y) {
    let best = -1, least = REACH * REACH;
    data.nodes.forEach((n, i) => {
      const d = (px(n.x) - x) ** 2 + (py(n.y) - y) ** 2;
      if (d < least) { least = d; best = i; }
    });
    return best;
  }

  function hover(i) {
    if (i === hovered) return;
    hovered = i;
    canvas.style.cursor = i >= 0 ? "pointer" : "default";
    tip.style.display = i >= 0 ? "block" : "none";
    if (i >= 0) {
      const n = data.nodes[i];
      tip.replaceChildren(...n.lines.map((text, k) => {
        const line = document.createElement("div");
        line.textContent = text;
        if (k === 1) line.className = "effect";
        return line;
      }));
      const x = px(n.x), y = py(n.y), w = tip.offsetWidth, h = tip.offsetHeight;
      tip.style.left = `${x + 16 + w < W ? x + 16 : Math.max(2, x - w - 16)}px`;
      tip.style.top = `${Math.max(2, Math.min(y - h / 2, H - h - 2))}px`;
    }
    draw();
  }

  function step(dx, dy) {
    const from = data.nodes[hovered >= 0 ? hovered : Math.max(0, selected)];
    let best = -1, least = Infinity;
    data.nodes.forEach((n, i) => {
      const a = px(n.x) - px(from.x), b = py(n.y) - py(from.y), along = a * dx + b * dy, across = Math.abs(a * dy) + Math.abs(b * dx);
      if (along > 0.5 && along + 3 * across < least) { least = along + 3 * across; best = i; }
    });
    if (best >= 0) hover(best);
  }

  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointermove", (event) => hover(nearest(...place(event))));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("click", (event) => {
    const i = nearest(...place(event));
    if (i !== selected) setTriggerValue("pick", i >= 0 ? data.nodes[i].id : "");
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) { event.preventDefault(); step(...move); }
    else if (event.key === "Enter" && hovered >= 0) setTriggerValue("pick", data.nodes[hovered].id);
    else if (event.key === "Escape") { hover(-1); if (selected >= 0) setTriggerValue("pick", ""); }
  });

  size(); draw();
  const sizes = new ResizeObserver(() => { if (frame.clientWidth && frame.clientWidth !== W) { size(); draw(); } });
  sizes.observe(frame);
  const theme = new MutationObserver(() => requestAnimationFrame(draw));
  for (const e of [document.documentElement, document.body, document.querySelector(".stApp")])
    if (e) theme.observe(e, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
  return () => { sizes.disconnect(); theme.disconnect(); };
}
