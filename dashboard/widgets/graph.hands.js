// Pointer and keys. What is pointed at is the nearest thing drawn within reach, found in a grid of what is drawn: a node
// that is close, else an edge under the pointer, else a node within reach.
const REACH = 30, CLOSE = 12, UNDER = 5, STEPS = 24;

function seeker(g) {
  let cells = new Map();
  const key = (x, y) => Math.floor(y / REACH) * 4096 + Math.floor(x / REACH);
  return {
    rebuild() {
      cells = new Map();
      for (const i of g.paint.glyphs) {
        const [x, y] = g.paint.place(i), spot = key(x, y), list = cells.get(spot);
        if (list) list.push(i); else cells.set(spot, [i]);
      }
    },
    nearest(x, y, reach = REACH) {
      for (const b of g.paint.boxes) if (x >= b.x && x <= b.x + b.width && y >= b.y && y <= b.y + b.height) return b.unit;
      let best = -1, least = reach;
      for (let dy = -1; dy <= 1; dy++)
        for (let dx = -1; dx <= 1; dx++)
          for (const i of cells.get(key(x + dx * REACH, y + dy * REACH)) ?? []) {
            const [a, b] = g.paint.place(i), d = Math.hypot(a - x, b - y);
            if (d < least) { least = d; best = i; }
          }
      return best;
    },
    /** The drawn edge under a point, as [from, to, weight, ...]; those of a node that is only pointed at go with the pointer. */
    edge(x, y) {
      const marked = new Set([g.selected, ...g.pins(), ...g.paint.boxes.map((b) => b.unit)]);
      let best = null, least = UNDER;
      for (const link of g.paint.edges ?? []) {
        const [[x1, y1], [x2, y2]] = [g.paint.place(link[0]), g.paint.place(link[1])];
        const beside = x < Math.min(x1, x2) - UNDER || x > Math.max(x1, x2) + UNDER || y < Math.min(y1, y2) - UNDER || y > Math.max(y1, y2) + UNDER;
        if (beside || !(marked.has(link[0]) || marked.has(link[1]))) continue;
        let last = [x1, y1];
        for (let k = 1; k <= STEPS; k++) {
          const next = g.paint.along(link, k / STEPS), d = apart(x, y, last, next);
          if (d < least) { least = d; best = link; }
          last = next;
        }
      }
      return best;
    },
    inside([x, y, w, h]) {
      const [left, right, top, bottom] = [Math.min(x, x + w), Math.max(x, x + w), Math.min(y, y + h), Math.max(y, y + h)];
      return g.paint.glyphs.filter((i) => {
        const [a, b] = g.paint.place(i);
        return a >= left && a <= right && b >= top && b <= bottom;
      });
    },
  };
}

/** How far a point is from the line between two others. */
function apart(x, y, [x1, y1], [x2, y2]) {
  const [w, h] = [x2 - x1, y2 - y1], t = ((x - x1) * w + (y - y1) * h) / (w * w + h * h || 1), on = Math.max(0, Math.min(1, t));
  return Math.hypot(x - x1 - on * w, y - y1 - on * h);
}

function pointing(g, canvas) {
  const held = new Map();
  let moved = false, wide = 0;
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = at(event);
    held.set(event.pointerId, [x, y]); moved = false;
    if (event.shiftKey) g.lasso = [x, y, 0, 0];
    if (held.size === 2) wide = spread();
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event), from = held.get(event.pointerId);
    if (!from) {
      const near = g.seek.nearest(x, y, CLOSE), link = near < 0 && g.scene ? g.seek.edge(x, y) : null;
      g.hover(link ? -1 : near < 0 ? g.seek.nearest(x, y) : near);
      return g.follow(link, x, y);
    }
    if (Math.hypot(x - from[0], y - from[1]) < 4 && !moved) return undefined;
    moved = true;
    held.set(event.pointerId, [x, y]);
    if (g.lasso) { g.lasso[2] = x - g.lasso[0]; g.lasso[3] = y - g.lasso[1]; g.later("top"); }
    else if (held.size === 2) { const now = spread(); g.zoom(now / (wide || now), x, y); wide = now; }
    else { g.camera.pan(x - from[0], y - from[1]); g.hover(-1); g.follow(null); g.later("all"); }
    return undefined;
  });
  const end = (event) => {
    const [x, y] = at(event), box = g.lasso;
    if (!held.delete(event.pointerId)) return;
    g.lasso = null;
    if (moved) { if (box) g.pinAll(g.seek.inside(box)); moved = false; return; }
    const u = g.seek.nearest(x, y);
    if (event.ctrlKey || event.metaKey) g.pin(u);
    else if (event.type === "pointerup") g.select(u);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => { if (!held.size) { g.hover(-1); g.follow(null); } });
  canvas.addEventListener("dblclick", (event) => g.rename(g.seek.nearest(...at(event))));
  canvas.addEventListener("wheel", (event) => {
    const ours = event.ctrlKey || event.metaKey || canvas.getRootNode().activeElement === canvas || document.fullscreenElement;
    if (!ours || (event.deltaY > 0 && g.camera.scale === 1)) return;
    event.preventDefault();
    g.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.008 : 0.002)), ...at(event));
  }, { passive: false });
}

function keying(g, canvas) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const simple = {
    Enter: () => g.hovered >= 0 && g.select(g.hovered), Escape: () => (g.hovered >= 0 ? g.hover(-1) : g.select(-1)),
    p: () => g.pin(), g: () => g.group(), r: () => g.rename(), s: () => g.split(), u: () => g.undo(), U: () => g.redo(),
    "+": () => g.zoom(1.5), "=": () => g.zoom(1.5), "-": () => g.zoom(1 / 1.5), 0: () => g.zoom(0), f: () => g.full(),
    "/": () => g.tools.find.focus(), "?": () => g.help(),
  };
  let walk = { from: -1, links: [], at: 0 };

  function step([dx, dy]) {
    const [x, y] = g.hovered >= 0 ? g.paint.place(g.hovered) : g.selected >= 0 ? g.paint.place(g.selected) : [g.W / 2, 0];
    let best = -1, least = Infinity;
    for (const u of [...g.paint.glyphs, ...g.paint.boxes.map((b) => b.unit)]) {
      const [a, b] = g.paint.place(u), along = (a - x) * dx + (b - y) * dy, across = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
      if (along > 0.5 && along + 3 * across < least) { least = along + 3 * across; best = u; }
    }
    if (best >= 0) g.hover(best, true);
  }

  function along(name) {
    const here = g.hovered >= 0 ? g.hovered : g.selected;
    if (here < 0) return;
    if (name === "ArrowUp" || name === "ArrowDown") {
      const end = name === "ArrowUp" ? 0 : 1;
      walk = { from: here, end: 1 - end, links: links(g.scene, g.units, here).filter((l) => l[end] === here), at: 0 };
    } else if (walk.links[walk.at]?.[walk.end] === here) {
      walk.at = (walk.at + (name === "ArrowRight" ? 1 : -1) + walk.links.length) % walk.links.length;
    } else return;
    const link = walk.links[walk.at], to = link?.[walk.end];
    if (!link) g.say("No edge leads that way.");
    else { g.hover(to, true); g.say(`edge ${walk.at + 1} of ${walk.links.length} (${signed(link[2])}): ${g.label(to)}`); }
  }

  canvas.addEventListener("keydown", (event) => {
    const way = ways[event.key], act = simple[event.key.length === 1 && event.key !== "U" ? event.key.toLowerCase() : event.key];
    if (!way && (!act || event.ctrlKey || event.metaKey || event.altKey)) return;
    event.preventDefault(); event.stopPropagation();
    if (!way) act();
    else if (event.altKey) along(event.key);
    else step(way);
  });
}
