// The circuit on a canvas. The server sends two things: blocks of nodes and edges, kept here by name, and for each graph
// which block it shows and what is selected, pinned and grouped. Hovering, zooming and undo stay in the browser; a click is
// the trigger `pick`, a change of pins or groups the trigger `mark`.
const blocks = new Map(), mounted = new Map(), KEPT = 6;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  if (data instanceof Uint8Array || data instanceof ArrayBuffer) return receive(new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength));
  if (!mounted.has(parentElement)) mounted.set(parentElement, build(parentElement.querySelector(".root"), data.file));
  const g = mounted.get(parentElement);
  g.trigger = setTriggerValue;
  g.update(data);
  return () => { g.stop(); mounted.delete(parentElement); };
}

function receive(bytes) {
  const scene = unpack(bytes);
  blocks.delete(scene.name); blocks.set(scene.name, scene);
  while (blocks.size > KEPT) blocks.delete(blocks.keys().next().value);
  for (const g of mounted.values()) g.arrived();
}

function build(root, file) {
  const g = { scene: null, data: null, hovered: -1, selected: -1, edge: null, lasso: null, colours: {}, W: 0, H: 0, camera: camera(), units: { owner: [], groups: [] } };
  const frame = make("div", "frame"), stage = make("div", "stage"), help = helping();
  g.layers = Object.fromEntries(["back", "base", "top"].map((name) => {
    const canvas = make("canvas", name);
    stage.append(canvas);
    return [name, { canvas, pen: canvas.getContext("2d") }];
  }));
  const top = g.layers.top.canvas, probes = ["paper", "ink", "quiet", "line", "soft", "blue", "red"].map((name) => [name, make("span", `probe ${name}`)]);
  top.tabIndex = 0;
  top.setAttribute("role", "application");
  g.tools = toolbar(g); g.tips = tips(g); g.paint = painter(g); g.seek = seeker(g);
  g.marks = marking((marks) => g.trigger("mark", marks), () => g.scene && regroup());
  stage.append(g.tips.tip, help, ...probes.map(([, probe]) => probe));
  frame.append(g.tools.bar, stage);
  root.replaceChildren(frame);

  let due = "", requested = 0;
  const draw = () => {
    requested = 0;
    if (!g.scene || !g.W) return;
    const began = performance.now(), all = due === "all";
    due = "";
    if (all) { g.colours = Object.fromEntries(probes.map(([name, probe]) => [name, getComputedStyle(probe).color])); g.paint.lanes(); g.paint.nodes(); g.seek.rebuild(); }
    g.paint.top(); g.tips.show(g.hovered);
    g.timing = { ...g.timing, [all ? "draw" : "hover"]: performance.now() - began };
    if (all) g.tools.status.textContent = g.said || rest();
  };
  g.later = (what) => { if (due !== "all") due = what; requested ||= requestAnimationFrame(draw); };
  const rest = () => (g.paint.hidden ? `${g.paint.hidden.toLocaleString("en")} smaller nodes as shade; zoom in` : g.camera.scale > 1 ? `×${g.camera.scale.toFixed(1)}` : "");
  g.say = (text) => { g.said = text; g.tools.status.textContent = text || rest(); };

  g.unit = (id) => {
    const i = g.scene.numbers.get(id);
    if (i !== undefined) return g.units.owner[i] >= 0 ? g.units.owner[i] : i;
    const k = g.units.groups.findIndex((group) => group.id === id);
    return k < 0 ? -1 : g.scene.count + k;
  };
  g.id = (u) => (u < 0 ? "" : u < g.scene.count ? g.scene.ids[u] : g.units.groups[u - g.scene.count].id);
  g.label = (u) => (u >= g.scene.count ? g.units.groups[u - g.scene.count].name : g.scene.text[u] < 0 ? g.scene.ids[u] : g.scene.texts[g.scene.text[u]]);
  g.links = (u) => links(g.scene, g.units, u);
  g.pins = () => g.marks.now.pinned.map(g.unit).filter((u) => u >= 0 && u < g.scene.count);

  const regroup = () => {
    g.units = grouped(g.scene, g.marks.now);
    g.selected = g.wanted ? g.unit(g.wanted) : -1;
    g.hovered = g.pointed ? g.unit(g.pointed) : -1;
    g.edge = null; // its ends are numbers of what was shown before
    g.tools.buttons.undo.disabled = !g.marks.past; g.tools.buttons.redo.disabled = !g.marks.future;
    g.later("all");
  };
  const resize = () => {
    g.W = stage.clientWidth;
    g.H = document.fullscreenElement ? window.innerHeight - g.tools.bar.offsetHeight - 4 : g.scene ? g.scene.height : 400;
    const ratio = window.devicePixelRatio || 1;
    stage.style.height = `${g.H}px`;
    for (const { canvas, pen } of Object.values(g.layers)) {
      canvas.width = g.W * ratio; canvas.height = g.H * ratio; canvas.style.height = `${g.H}px`;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    g.camera.resize(g.W, g.H);
    g.later("all");
  };
  g.arrived = () => {
    const scene = g.data && blocks.get(g.data.block);
    if (!scene) return;
    if (scene !== g.scene) { g.scene = scene; top.setAttribute("aria-label", scene.alt); resize(); }
    regroup();
  };
  g.update = (data) => {
    const first = !g.data;
    g.data = data;
    g.wanted = data.selected;
    g.marks.hear(data.marks, data.turn ?? 0, first);
    if (g.said) g.said = "";
    g.arrived();
  };

  g.hover = (u, keyed = false) => {
    if (u === g.hovered || !g.scene) return;
    g.hovered = u; g.pointed = g.id(u);
    top.style.cursor = u >= 0 ? "pointer" : "default";
    if (keyed && u >= 0) { const [x, y] = u < g.scene.count ? [g.scene.x[u], g.scene.y[u]] : [g.units.groups[u - g.scene.count].x, g.units.groups[u - g.scene.count].y]; g.camera.show(x, y); g.say(g.tips.lines(u).slice(0, 2).join(", ")); g.later("all"); }
    g.later("top");
  };
  g.follow = (link, x, y) => {
    const there = link && link.slice(0, 2).join(), before = g.edge && g.edge.slice(0, 2).join();
    g.edge = link;
    if (link) g.spot = [x, y];
    if (link || before !== there) g.later("top");
  };
  g.select = (u) => { if (g.scene && u !== g.selected) { g.selected = u; g.wanted = g.id(u); g.later("top"); g.trigger("pick", g.wanted); } };
  const current = () => (g.hovered >= 0 ? g.hovered : g.selected);
  g.pin = (u = current()) => {
    if (u < 0 || u >= g.scene.count) return g.say(u < 0 ? "Point at a node to pin it." : "A group is always shown; it needs no pin.");
    const on = !g.marks.now.pinned.includes(g.id(u)), told = `${on ? "pinned" : "unpinned"} ${g.id(u)}`;
    g.marks.set(pinned(g.marks.now, g.id(u), on));
    return g.say(told);
  };
  g.pinAll = (found) => {
    if (found.length > 200) return g.say(`${found.length} nodes are too many to pin at once; draw a smaller box.`);
    g.marks.set({ ...g.marks.now, pinned: [...new Set([...g.marks.now.pinned, ...found.map(g.id)])] });
    return g.say(`pinned ${found.length} nodes`);
  };
  g.group = () => {
    const name = (nodes) => { const i = nodes.map((id) => g.scene.numbers.get(id)).find((n) => n !== undefined && g.scene.text[n] >= 0); return i === undefined ? "" : g.scene.texts[g.scene.text[i]].slice(0, 40); };
    const next = gathered(g.marks.now, current() < 0 ? [] : [g.id(current())], name);
    if (!next) return g.say("Pin two nodes or more, then group them.");
    g.marks.set(next);
    return g.say("grouped; R renames, S splits, U undoes");
  };
  const asked = (u) => { const v = u ?? current(); return g.scene && v >= g.scene.count ? g.units.groups[v - g.scene.count] : null; };
  g.rename = (u) => {
    const group = asked(u), box = group && g.paint.boxes.find((b) => b.group.id === group.id);
    if (!box) return u === undefined && g.say("Select a group to rename it.");
    return naming(stage, box, group.name, (name) => {
      if (name) g.marks.set({ ...g.marks.now, groups: g.marks.now.groups.map((other) => (other.id === group.id ? { ...other, name } : other)) });
      top.focus();
    });
  };
  g.split = () => {
    const group = asked();
    if (!group) return g.say("Select a group to split it.");
    const { pinned: pins, groups } = g.marks.now;
    g.marks.set({ ...g.marks.now, groups: groups.filter((other) => other.id !== group.id), pinned: [...pins, ...group.nodes] });
    return g.say("split; its nodes are pinned");
  };
  g.undo = () => g.say(g.marks.undo() ? "undone" : "Nothing to undo.");
  g.redo = () => g.say(g.marks.redo() ? "done again" : "Nothing to do again.");
  g.zoom = (factor, x, y) => { if (factor) g.camera.zoom(factor, x, y); else g.camera.fit(); g.later("all"); };
  g.full = () => (document.fullscreenElement ? document.exitFullscreen() : frame.requestFullscreen?.().catch(() => g.say("The browser allows no full screen.")));
  g.help = () => { help.style.display = help.style.display === "grid" ? "none" : "grid"; };
  let found = { text: "", at: 0 };
  g.search = (text, turn) => {
    const wanted = text.trim().toLowerCase(), hits = [];
    if (wanted) for (let i = 0; i < g.scene.count; i++) if (g.scene.ids[i].includes(wanted) || (g.scene.text[i] >= 0 && g.scene.texts[g.scene.text[i]].toLowerCase().includes(wanted))) hits.push(i);
    found = { text: wanted, at: hits.length && turn && found.text === wanted ? (found.at + turn + hits.length) % hits.length : 0 };
    if (!hits.length) { g.hover(-1); return g.say(wanted ? "nothing found" : ""); }
    const u = g.unit(g.scene.ids[hits[found.at]]);
    g.hover(u, true);
    return g.say(`${found.at + 1} of ${hits.length} found; Enter: next`);
  };
  g.picture = () => {
    const whole = document.createElement("canvas"), pen = whole.getContext("2d");
    whole.width = top.width; whole.height = top.height;
    for (const name of ["back", "base", "top"]) { pen.globalAlpha = name === "base" ? Number(g.layers.base.canvas.style.opacity || 1) : 1; pen.drawImage(g.layers[name].canvas, 0, 0); }
    whole.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob); link.download = `${file}.png`; link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  };

  pointing(g, top); keying(g, top);
  top.at = (id) => { const u = g.scene ? g.unit(id) : -1; return u >= 0 ? g.paint.place(u) : undefined; };
  top.graph = g;
  const sizes = new ResizeObserver(() => { if (stage.clientWidth && stage.clientWidth !== g.W) resize(); });
  sizes.observe(stage);
  document.addEventListener("fullscreenchange", resize);
  const theme = new MutationObserver(() => g.later("all"));
  for (const e of [document.documentElement, document.body, document.querySelector(".stApp")])
    if (e) theme.observe(e, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
  g.stop = () => { sizes.disconnect(); theme.disconnect(); g.marks.stop(); document.removeEventListener("fullscreenchange", resize); };
  return g;
}
