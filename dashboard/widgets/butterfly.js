// Two circuits by site and place: in each cell a bar to the left and one to the right, on one scale. Texts: textContent only.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");

  function wing(side, of) {
    const bar = make("span", `wing ${side}`);
    for (const [kind, value] of [["plus", of.positive], ["minus", -of.negative]]) {
      if (!value) continue;
      const piece = make("span", kind);
      piece.style.width = `max(1px, ${(100 * value) / data.top}%)`;
      bar.append(piece);
    }
    return bar;
  }

  function cell(of) {
    const button = make("button", "cell");
    button.title = of.title;
    button.setAttribute("aria-label", of.title);
    button.setAttribute("aria-pressed", String(of.id === data.selected));
    const wings = make("span", "wings");
    wings.append(wing("left", of.left), make("i"), wing("right", of.right));
    const counts = make("span", "counts");
    counts.append(make("span", "", of.left.nodes || "–"), make("span", "", of.right.nodes || "–"));
    button.append(wings, counts);
    if (of.words) button.append(make("span", "words", of.words));
    button.addEventListener("click", () => setTriggerValue("pick", of.id === data.selected ? "" : of.id));
    return button;
  }

  const table = make("table"), head = make("tr");
  table.setAttribute("aria-label", data.label);
  head.append(make("th", "", data.corner));
  for (const column of data.columns) {
    const th = make("th", "", column.label);
    if (column.note) { const note = make("small", "", column.note); note.title = column.note; th.append(note); }
    head.append(th);
  }
  const thead = make("thead"), tbody = make("tbody");
  thead.append(head);
  for (const row of data.rows) {
    const tr = make("tr");
    tr.append(make("th", "", row.label));
    for (const of of row.cells) {
      const td = make("td", of ? "" : "none", of ? undefined : "·");
      if (of) td.append(cell(of));
      tr.append(td);
    }
    tbody.append(tr);
  }
  table.append(thead, tbody);
  const scroll = make("div", "scroll");
  scroll.append(table);
  root.replaceChildren(scroll);
}
