// Mounts what the file holds: each component in a shadow root, as Streamlit does it. A graph, its tables and the pane
// beside it follow one selection; nothing is asked of anybody.
(() => {
  const parts = JSON.parse(document.getElementById("lacewing-parts").textContent);
  const state = { selected: null, marks: null }, redraw = [];
  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const detail = document.getElementById("node");
  const facts = detail ? JSON.parse(document.getElementById("lacewing-nodes").textContent) : null;

  function select(id) {
    state.selected = id || null;
    for (const again of redraw) again();
    if (detail) tell(id);
  }

  function make(kind, text, className) {
    const e = document.createElement(kind);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  }

  function tell(id) {
    const node = facts.nodes[id];
    if (!node) { detail.replaceChildren(make("p", facts.hint, "quiet")); return; }
    const rows = [make("h3", id), ...node.lines.map((line) => make("p", line))];
    for (const [title, side] of [["Comes from", "in"], ["Goes to", "out"]]) {
      const edges = node[side], many = node.many[side];
      if (!edges.length) continue;
      const list = make("ul");
      for (const [other, said] of edges) {
        const item = make("li"), button = make("button", `${other}  ${said}`);
        button.type = "button";
        button.addEventListener("click", () => select(other));
        item.append(button);
        list.append(item);
      }
      rows.push(make("p", edges.length < many ? `${title}: the strongest ${edges.length} of ${many}` : title, "quiet"), list);
    }
    detail.replaceChildren(...rows);
  }

  function mount(host, part) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    if (!root.firstChild) {
      const style = make("style", lacewing[part.name].css), inner = make("div", undefined, "root");
      root.append(style, inner);
    }
    const trigger = (name, value) => {
      if (name === "pick") select(value);
      else if (name === "mark") { state.marks = value; for (const again of redraw) again(); }
    };
    const draw = () => {
      let data = part.bytes ? decode(part.bytes) : part.data;
      if (part.name === "graph" && !part.bytes) data = { ...data, selected: state.selected ?? data.selected, marks: state.marks ?? data.marks };
      else if (part.name === "table" && data.pick) data = { ...data, selected: state.selected };
      lacewing[part.name].render({ data, key: part.key, parentElement: root, setTriggerValue: trigger, setStateValue: () => {} });
    };
    draw();
    if (!part.bytes && (part.name === "graph" || (part.name === "table" && part.data.pick))) redraw.push(draw);
  }

  for (const host of document.querySelectorAll(".lw-mount")) mount(host, parts[Number(host.dataset.part)]);
  if (detail) tell(parts.find((p) => p.name === "graph" && p.data)?.data.selected);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (getComputedStyle(document.documentElement).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.style.colorScheme = dark ? "light" : "dark";
  });
})();
