// What stands around the canvas: search, buttons, the tip of what is hovered, the list of keys, the name of a group.
const KEYS = [
  ["Arrows", "the nearest node that way"], ["Alt + Up, Down", "along the strongest edge out, in"],
  ["Alt + Left, Right", "the next edge of the same node"], ["Enter", "select"], ["P", "pin, unpin (or Ctrl-click)"],
  ["Shift-drag", "pin all inside"], ["G", "group what is pinned and selected"], ["R", "rename a group"], ["S", "split a group"],
  ["U, Shift + U", "undo, redo"], ["+ − 0", "zoom in, out, all (or Ctrl-wheel, pinch)"], ["F", "full screen"],
  ["/", "search nodes and explanations"], ["Esc", "let go"], ["?", "these keys"],
];

function toolbar(g) {
  const bar = make("div", "bar"), find = document.createElement("input"), status = make("span", "status");
  const buttons = {};
  find.type = "search"; find.placeholder = "Find a node or text  ( / )"; find.setAttribute("aria-label", "Find a node or explanation");
  status.setAttribute("role", "status");
  bar.append(find, status);
  for (const [name, sign, title, act] of [
    ["out", "−", "Zoom out (−)", () => g.zoom(1 / 1.5)], ["in", "+", "Zoom in (+)", () => g.zoom(1.5)],
    ["fit", "All", "Show all (0)", () => g.zoom(0)], ["pin", "Pin", "Pin or unpin the selected node (P)", () => g.pin()],
    ["group", "Group", "Group what is pinned and selected (G)", () => g.group()], ["undo", "Undo", "Undo (U)", () => g.undo()],
    ["redo", "Redo", "Redo (Shift + U)", () => g.redo()], ["png", "PNG", "Save the picture", () => g.picture()],
    ["full", "Full screen", "Full screen (F)", () => g.full()], ["help", "?", "Keys (?)", () => g.help()],
  ]) {
    const button = make("button", name, sign);
    button.type = "button"; button.title = title; button.setAttribute("aria-label", title);
    button.addEventListener("click", act);
    bar.append(button); buttons[name] = button;
  }
  find.addEventListener("input", () => g.search(find.value, 0));
  find.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") g.search(find.value, event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") { find.value = ""; g.search("", 0); g.layers.top.canvas.focus(); }
  });
  return { bar, find, status, buttons };
}

function tips(g) {
  const tip = make("div", "tip");
  function lines(u) {
    const { scene } = g;
    if (u >= scene.count) {
      const group = g.units.groups[u - scene.count], first = group.members.slice(0, 4).map((i) => g.label(i));
      const gone = group.known > group.members.length ? `, ${group.known - group.members.length} not among the nodes shown` : "";
      return [group.name, `sum of effects ${signed(group.effect)}`, `${group.members.length} nodes${gone}: ${first.join("; ")}${group.members.length > 4 ? " …" : ""}`];
    }
    const number = (value) => signed(value).replace("+", ""), exact = scene.verified[u];
    const column = scene.columns[scene.position[u]];
    const said = [
      scene.ids[u], `effect ${signed(scene.effect[u])} [${number(scene.lower[u])}, ${number(scene.upper[u])}]`,
      `rank ${scene.rank[u]} · ${column ? column.name : ""} · ${Number.isNaN(exact) ? "estimated, not verified" : `verified: ${signed(exact)}`}`,
    ];
    return scene.text[u] < 0 ? said : [...said, scene.texts[scene.text[u]]];
  }
  /** What an edge is. Its share of what goes into its target is in the pane: only the edges shown are known here. */
  const edge = ([from, to, weight]) => [`${g.label(from)} → ${g.label(to)}`, `edge ${signed(weight)}`, `from ${g.id(from)} to ${g.id(to)}`];
  /** The tip of a node or group, else of the edge under the pointer. */
  function show(u) {
    const there = u >= 0 || g.edge;
    tip.style.display = there ? "block" : "none";
    if (!there) return;
    tip.replaceChildren(...(u >= 0 ? lines(u) : edge(g.edge)).map((text, k) => make("div", k === 1 ? "effect" : "", text)));
    const [x, y] = u >= 0 ? g.paint.place(u) : g.spot, w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = `${x + 16 + w < g.W ? x + 16 : Math.max(2, x - w - 16)}px`;
    tip.style.top = `${Math.max(2, Math.min(y - h / 2, g.H - h - 2))}px`;
  }
  return { tip, show, lines };
}

function helping() {
  const help = make("dl", "keys");
  help.setAttribute("aria-label", "Keys");
  for (const [key, what] of KEYS) help.append(make("dt", "", key), make("dd", "", what));
  return help;
}

/** An input over a group's box; `done` gets the new name, or null when it was left. */
function naming(frame, box, name, done) {
  const input = document.createElement("input");
  input.className = "naming"; input.value = name; input.maxLength = 80; input.setAttribute("aria-label", "Name of the group");
  Object.assign(input.style, { left: `${Math.max(2, box.x)}px`, top: `${Math.max(2, box.y)}px`, width: `${Math.max(180, box.width)}px` });
  let open = true;
  const close = (value) => { if (open) { open = false; input.remove(); done(value); } };
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") close(input.value.trim() || null);
    else if (event.key === "Escape") close(null);
  });
  input.addEventListener("blur", () => close(input.value.trim() || null));
  frame.append(input); input.focus(); input.select();
}
