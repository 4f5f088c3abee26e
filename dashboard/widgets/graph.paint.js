// Drawing: lanes at the back, nodes above them, and on top what is pointed at, selected, pinned or grouped with its edges.
// Shape is the kind (circle latent, diamond error, square logits and tokens, box group), fill is certainty (filled verified,
// hollow estimated), sign is colour and a minus sign in the glyph; edges of negative effect are dashed.
const SPOT = 7, WIDE = 10, ALL = 900, BATCH = 1500, EDGES = 300, OF_PIN = 30;
const MONO = "ui-monospace, 'DejaVu Sans Mono', monospace", SANS = "'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";

function painter(g) {
  const p = { hidden: 0, glyphs: [], boxes: [] };
  const radius = (i) => {
    const kind = g.scene.kindOf(i), grow = Math.min(1.8, g.camera.scale ** 0.3);
    return kind === "logit" || kind === "token" ? 7 : (3.2 + 6.8 * Math.sqrt(Math.min(1, Math.abs(g.scene.effect[i]) / g.scene.top))) * grow;
  };
  const place = (u) => {
    const at = u < g.scene.count ? { x: g.scene.x[u], y: g.scene.y[u] } : g.units.groups[u - g.scene.count];
    return [g.camera.px(at.x), g.camera.py(at.y)];
  };
  p.radius = radius; p.place = place;

  function fit(pen, text, width) {
    if (pen.measureText(text).width <= width) return text;
    let cut = text;
    while (cut.length > 1 && pen.measureText(cut + "…").width > width) cut = cut.slice(0, -1);
    return cut + "…";
  }

  p.lanes = () => {
    const pen = g.layers.back.pen, { camera: c, scene, colours, H, W } = g;
    pen.fillStyle = colours.paper; pen.fillRect(0, 0, W, H);
    scene.columns.forEach((column, i) => {
      const a = Math.max(LEFT, c.px(column.begin)), b = Math.min(W - RIGHT, c.px(column.end));
      if (b - a < 2) return;
      if (i % 2) { pen.fillStyle = colours.soft; pen.fillRect(a, TOP, b - a, H - TOP - BOTTOM); }
      pen.textAlign = "center"; pen.fillStyle = colours.ink; pen.font = `600 12.5px ${MONO}`;
      if (b - a > 14) pen.fillText(fit(pen, column.token, b - a - 4), (a + b) / 2, H - BOTTOM + 18);
      pen.fillStyle = colours.quiet; pen.font = `12px ${SANS}`;
      if (b - a > 24) pen.fillText(fit(pen, column.name, b - a - 2), (a + b) / 2, H - BOTTOM + 35);
    });
    pen.textAlign = "right"; pen.strokeStyle = colours.line; pen.lineWidth = 1;
    scene.rows.forEach((row) => {
      const a = Math.max(TOP, c.py(row.begin)), b = Math.min(H - BOTTOM, c.py(row.end));
      if (b - a < 2) return;
      pen.beginPath(); pen.moveTo(LEFT, b); pen.lineTo(W - RIGHT, b); pen.stroke();
      pen.fillStyle = colours.quiet; pen.font = `12px ${SANS}`;
      if (b - a > 12) pen.fillText(fit(pen, row.name, LEFT - 12), LEFT - 8, (a + b) / 2 + 4);
    });
  };

  /** Which nodes get a glyph: all of a small graph; of a large one the most important of each spot, the rest as shade. */
  function choose() {
    const { scene, camera: c, W, H, units } = g, seen = [];
    for (let i = 0; i < scene.count; i++)
      if (units.owner[i] < 0 && c.inside(c.px(scene.x[i]), c.py(scene.y[i]), 8)) seen.push(i);
    p.hidden = 0; p.shade = null;
    if (seen.length <= ALL) return (p.glyphs = seen);
    const cell = seen.length > 5 * ALL ? WIDE : SPOT, across = Math.ceil(W / cell), counts = new Uint16Array(across * Math.ceil(H / cell));
    p.glyphs = seen.filter((i) => {
      const spot = Math.max(0, Math.floor(c.py(scene.y[i]) / cell)) * across + Math.max(0, Math.floor(c.px(scene.x[i]) / cell));
      if (counts[spot]++ === 0) return true;
      p.hidden++;
      return false;
    });
    p.shade = { counts, across, cell };
    return p.glyphs;
  }

  function shade(pen) {
    if (!p.shade) return;
    const { cell } = p.shade;
    pen.fillStyle = g.colours.quiet;
    p.shade.counts.forEach((count, spot) => {
      if (count < 2) return;
      pen.globalAlpha = Math.min(0.5, 0.1 * Math.log2(count));
      pen.fillRect((spot % p.shade.across) * cell, Math.floor(spot / p.shade.across) * cell, cell, cell);
    });
    pen.globalAlpha = 1;
  }

  function outline(pen, i, x, y, r) {
    const kind = g.scene.kindOf(i);
    if (kind === "error") {
      const d = r * 1.25;
      pen.moveTo(x, y - d); pen.lineTo(x + d, y); pen.lineTo(x, y + d); pen.lineTo(x - d, y); pen.closePath();
    } else if (kind === "logit" || kind === "token") pen.rect(x - r, y - r, 2 * r, 2 * r);
    else { pen.moveTo(x + r, y); pen.arc(x, y, r, 0, 7); }
  }

  function glyph(pen, i, ring = 0, width = 1.5) {
    const [x, y] = place(i), r = radius(i), { colours, scene } = g, verified = !Number.isNaN(scene.verified[i]);
    const colour = scene.effect[i] >= 0 ? colours.blue : colours.red;
    pen.beginPath(); outline(pen, i, x, y, r + ring);
    if (ring) { pen.strokeStyle = colours.ink; pen.lineWidth = width; pen.stroke(); return; }
    pen.fillStyle = verified ? colour : colours.paper; pen.fill();
    pen.strokeStyle = colour; pen.lineWidth = 1.5; pen.stroke();
    if (scene.effect[i] < 0 && r > 3.4) {
      pen.strokeStyle = verified ? colours.paper : colour;
      pen.beginPath(); pen.moveTo(x - r * 0.5, y); pen.lineTo(x + r * 0.5, y); pen.stroke();
    }
  }

  /** Glyphs of one colour and fill as one path each: a tenth of the time of single ones. */
  function batches(pen) {
    for (const positive of [true, false])
      for (const verified of [false, true]) {
        const colour = positive ? g.colours.blue : g.colours.red, bars = [];
        pen.beginPath();
        for (const i of p.glyphs) {
          if (g.scene.effect[i] >= 0 !== positive || Number.isNaN(g.scene.verified[i]) === verified) continue;
          const [x, y] = place(i), r = radius(i);
          outline(pen, i, x, y, r);
          if (!positive && r > 3.4) bars.push([x, y, r]);
        }
        pen.fillStyle = verified ? colour : g.colours.paper; pen.fill();
        pen.strokeStyle = colour; pen.lineWidth = 1.2; pen.stroke();
        pen.beginPath();
        for (const [x, y, r] of bars) { pen.moveTo(x - r * 0.5, y); pen.lineTo(x + r * 0.5, y); }
        pen.strokeStyle = verified ? g.colours.paper : colour; pen.stroke();
      }
  }

  p.nodes = () => {
    const pen = g.layers.base.pen;
    pen.clearRect(0, 0, g.W, g.H);
    choose();
    clipped(pen, () => {
      shade(pen);
      if (p.glyphs.length > BATCH) batches(pen);
      else for (let k = p.glyphs.length - 1; k >= 0; k--) glyph(pen, p.glyphs[k]);
    });
    p.boxes = g.units.groups.map((group, k) => box(group, g.scene.count + k));
  };

  function clipped(pen, draw) {
    pen.save(); pen.beginPath(); pen.rect(LEFT, 0, g.W - LEFT, g.H - BOTTOM + 2); pen.clip();
    draw();
    pen.restore();
  }

  function box(group, unit) {
    const pen = g.layers.top.pen, [x, y] = place(unit);
    pen.font = `600 12px ${SANS}`;
    const name = fit(pen, group.name, 150);
    pen.font = `12px ${SANS}`;
    const detail = `${group.members.length} · ${signed(group.effect)}`;
    const width = Math.max(pen.measureText(name).width * 1.06, pen.measureText(detail).width) + 16, height = 36;
    return { unit, x: x - width / 2, y: y - height / 2, width, height, name, detail, group };
  }

  function drawBox(pen, b, strong) {
    const { colours } = g, colour = b.group.effect >= 0 ? colours.blue : colours.red;
    pen.beginPath(); pen.roundRect(b.x, b.y, b.width, b.height, 5);
    pen.fillStyle = colours.paper; pen.fill();
    pen.strokeStyle = strong ? colours.ink : colour; pen.lineWidth = strong ? 2.4 : 1.6; pen.stroke();
    pen.textAlign = "center"; pen.fillStyle = colours.ink; pen.font = `600 12px ${SANS}`;
    pen.fillText(b.name, b.x + b.width / 2, b.y + 15);
    pen.fillStyle = colour; pen.font = `12px ${SANS}`;
    pen.fillText(b.detail, b.x + b.width / 2, b.y + 30);
  }

  /** The four points of an edge's Bézier curve. */
  const bent = (link) => {
    const [[x1, y1], [x2, y2]] = [place(link[0]), place(link[1])], bend = (y1 - y2) * 0.45;
    return [[x1, y1], [x1, y1 - bend], [x2, y2 + bend], [x2, y2]];
  };
  /** The point at `t` of the way along an edge. */
  p.along = (link, t) => {
    const points = bent(link), shares = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
    return [0, 1].map((axis) => shares.reduce((sum, share, k) => sum + share * points[k][axis], 0));
  };

  function curve(pen, link, strong, wider = 0) {
    const share = Math.min(1, Math.abs(link[2]) / g.scene.topWeight), [[x1, y1], ...rest] = bent(link);
    pen.strokeStyle = link[2] >= 0 ? g.colours.blue : g.colours.red;
    pen.globalAlpha = (strong ? 0.4 : 0.2) + (strong ? 0.5 : 0.3) * Math.sqrt(share);
    pen.lineWidth = 0.7 + 3.6 * Math.sqrt(share) + wider;
    pen.setLineDash(link[2] >= 0 ? [] : [6, 4]);
    pen.beginPath(); pen.moveTo(x1, y1); pen.bezierCurveTo(...rest.flat()); pen.stroke();
    pen.globalAlpha = 1; pen.setLineDash([]);
  }

  /** The edges drawn: all of what is selected or hovered, a pin's strongest, and all between what is pinned or grouped. */
  function chosen(focus) {
    const marked = new Set([...g.pins(), ...p.boxes.map((b) => b.unit), ...focus]), drawn = new Map();
    for (const u of new Set([...focus, ...marked])) {
      const found = links(g.scene, g.units, u), few = focus.includes(u) ? EDGES : u < g.scene.count ? OF_PIN : 0;
      found.forEach((link, k) => {
        const between = marked.has(link[0]) && marked.has(link[1]);
        if (k < few || between) drawn.set(`${link[0]} ${link[1]}`, [...link, focus.includes(link[0]) || focus.includes(link[1]) || between]);
      });
    }
    return [...drawn.values()].sort((a, b) => Math.abs(a[2]) - Math.abs(b[2]));
  }

  /** Everything on top of the nodes, which are dimmed while something is in focus. */
  p.top = () => {
    const pen = g.layers.top.pen, focus = [g.selected, g.hovered].filter((u) => u >= 0), edges = chosen(focus);
    pen.clearRect(0, 0, g.W, g.H);
    const lit = new Set([...focus, ...g.pins(), ...edges.flatMap((e) => [e[0], e[1]])].filter((u) => u < g.scene.count));
    g.layers.base.canvas.style.opacity = focus.length ? 0.3 : edges.length ? 0.6 : 1;
    clipped(pen, () => {
      for (const e of edges) curve(pen, e, g.hovered < 0 ? e[3] : e[0] === g.hovered || e[1] === g.hovered);
      if (g.edge) curve(pen, g.edge, true, 2);
      for (const u of [...lit].sort((a, b) => b - a)) glyph(pen, u);
      for (const u of focus) if (u >= g.scene.count) members(pen, u);
      for (const u of g.pins()) { glyph(pen, u, 3.5, 1.4); glyph(pen, u, 6, 1.4); }
      if (g.hovered >= 0 && g.hovered < g.scene.count) glyph(pen, g.hovered, 4, 1.2);
      if (g.selected >= 0 && g.selected < g.scene.count) glyph(pen, g.selected, 4, 2.4);
      for (const b of p.boxes) drawBox(pen, b, b.unit === g.selected || b.unit === g.hovered);
      labels(pen);
    });
    if (g.lasso) { pen.strokeStyle = g.colours.ink; pen.setLineDash([4, 3]); pen.strokeRect(...g.lasso); pen.setLineDash([]); }
    p.edges = edges;
  };

  function members(pen, unit) {
    const group = g.units.groups[unit - g.scene.count], [x, y] = place(unit);
    pen.strokeStyle = g.colours.quiet; pen.lineWidth = 0.8;
    for (const i of group.members) {
      const [a, b] = place(i);
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(a, b); pen.stroke();
      glyph(pen, i);
    }
  }

  /** The selected and pinned nodes by name, each where nothing else is written, or not at all. */
  function labels(pen) {
    const taken = p.boxes.map((b) => [b.x, b.y, b.width, b.height]), marked = new Set([g.selected, ...g.pins()]);
    pen.font = `12px ${SANS}`; pen.textAlign = "left";
    p.labels = [];
    for (const u of marked) {
      if (u < 0 || u >= g.scene.count) continue;
      const [x, y] = place(u), r = radius(u) + 8, text = fit(pen, g.label(u), 190), w = pen.measureText(text).width + 8, h = 17;
      const spots = [[x + r, y - h / 2], [x - r - w, y - h / 2], [x - w / 2, y - r - h], [x - w / 2, y + r], [x + r, y - h - 4], [x + r, y + 4]];
      const fits = ([a, b]) => a >= LEFT && a + w <= g.W && b >= 0 && b + h <= g.H - BOTTOM && !taken.some((t) => a < t[0] + t[2] && a + w > t[0] && b < t[1] + t[3] && b + h > t[1]);
      const free = leastCovering(spots.filter(fits), w, h);
      if (!free || !g.camera.inside(x, y, 0)) continue;
      taken.push([...free, w, h]); p.labels.push({ text, box: [...free, w, h] });
      pen.globalAlpha = 0.9; pen.fillStyle = g.colours.paper; pen.fillRect(...free, w, h); pen.globalAlpha = 1;
      pen.fillStyle = g.colours.ink; pen.fillText(text, free[0] + 4, free[1] + 12.5);
    }
  }

  /** The spot that hides the fewest nodes; the first, where there are too many to count. */
  function leastCovering(spots, w, h) {
    if (p.glyphs.length > ALL || spots.length < 2) return spots[0];
    const hidden = spots.map(([a, b]) => p.glyphs.filter((i) => { const [x, y] = place(i); return x > a - 4 && x < a + w + 4 && y > b - 4 && y < b + h + 4; }).length);
    return spots[hidden.indexOf(Math.min(...hidden))];
  }
  return p;
}

function signed(value, digits = 3) {
  const size = Math.abs(value), text = size > 0 && size < 1e-3 ? size.toPrecision(digits) : size.toFixed(digits);
  return `${value >= 0 ? "+" : "−"}${text}`;
}
