// Things that may be ticked, each with what one may judge it by. A tick shows at once and is sent; texts: textContent only.
const NS = "http://www.w3.org/2000/svg";

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const ticked = new Set(data.ticked);

  // An interval between -1 and 1, with a mark at nought; grey where it holds nought.
  function span(of) {
    const svg = document.createElementNS(NS, "svg"), x = (v) => 4 + 36 * (1 + Math.max(-1, Math.min(1, v)));
    svg.setAttribute("width", 80); svg.setAttribute("height", 14); svg.setAttribute("aria-hidden", "true");
    if (of.lower <= 0 && of.upper >= 0) svg.setAttribute("class", "unsure");
    const add = (kind, attributes) => {
      const e = document.createElementNS(NS, kind);
      for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
      svg.append(e);
    };
    add("line", { class: "axis", x1: 4, x2: 76, y1: 7, y2: 7 });
    add("line", { class: "zero", x1: 40, x2: 40, y1: 1, y2: 13 });
    add("line", { class: "whisker", x1: x(of.lower), x2: x(of.upper), y1: 7, y2: 7 });
    add("circle", { class: "dot", cx: x(of.value), cy: 7, r: 3.2 });
    return svg;
  }

  function row(one) {
    const tr = make("tr", ticked.has(one.id) ? "on" : "");
    const box = make("input"), first = make("td");
    box.type = "checkbox";
    box.checked = ticked.has(one.id);
    box.setAttribute("aria-label", `remove ${one.id}`);
    box.addEventListener("change", () => {
      if (box.checked) ticked.add(one.id); else ticked.delete(one.id);
      tr.className = box.checked ? "on" : "";
      count.textContent = said();
      setTriggerValue("tick", data.rows.map((r) => r.id).filter((id) => ticked.has(id)));
    });
    box.addEventListener("keydown", (event) => {
      const next = { ArrowDown: tr.nextElementSibling, ArrowUp: tr.previousElementSibling }[event.key];
      if (next) { next.querySelector("input").focus(); event.preventDefault(); }
    });
    first.append(box);
    const name = make("td", "line mono");
    if (one.feature) {
      const a = make("a", "", one.id);
      a.href = "feature?" + new URLSearchParams({ feature: one.feature });
      a.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        setTriggerValue("go", ["feature", { feature: one.feature }]);
      });
      name.append(a);
    } else name.textContent = one.id;
    const tokens = make("td");
    for (const token of one.tokens) tokens.append(make("code", "", token));
    const cue = make("td", "line");
    cue.append(span(one.cue), " ", make("span", "", one.cue.text));
    const text = make("td", one.text ? "" : "quiet", one.text || "not explained");
    text.title = one.full ?? "";
    tr.append(first, make("td", "num", one.rank), name, make("td", "num", one.effect), make("td", "num", one.verified), cue, tokens, text,
      make("td", "line quiet", one.removed ? "removed" : ""));
    return tr;
  }

  const said = () => `${ticked.size} of ${data.rows.length} ticked`;
  const top = root.querySelector(".scroll")?.scrollTop ?? 0, held = document.activeElement === document.body ? null : root.dataset.held;
  const table = make("table"), head = make("tr"), thead = make("thead"), tbody = make("tbody");
  table.setAttribute("aria-label", data.label);
  for (const c of data.columns) {
    const th = make("th", c.kind ?? "", c.label);
    if (c.title) th.title = c.title;
    head.append(th);
  }
  thead.append(head);
  const count = make("span", "", said());
  for (const one of data.rows) tbody.append(row(one));
  table.append(thead, tbody);
  const scroll = make("div", "scroll"), foot = make("div", "foot");
  count.setAttribute("role", "status");
  foot.append(count, make("span", "", data.note ?? ""));
  scroll.append(table);
  root.addEventListener("focusin", (event) => (root.dataset.held = event.target.getAttribute?.("aria-label") ?? ""));
  root.replaceChildren(scroll, foot);
  scroll.scrollTop = top;
  if (held) [...scroll.querySelectorAll("input")].find((i) => i.getAttribute("aria-label") === held)?.focus({ preventScroll: true });
}
