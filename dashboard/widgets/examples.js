// Examples in groups: each token coloured by its activation, its value on hovering. A row is opened by a click or Enter;
// copies of it unfold beneath. Every text is set with textContent.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  root.unfolded ??= new Set();

  const opacity = (value) => data.alpha * Math.log10(1 + 9 * Math.min(Math.max(value / (data.top || 1), 0), 1));

  function text(row, texts) {
    const line = make("span", "text"), values = new Map(row.values);
    texts.forEach((shown, i) => {
      const token = make("span", "t", shown), value = values.get(i);
      if (value) {
        token.classList.add("on");
        token.dataset.v = value.toFixed(2);
        token.style.setProperty("--a", opacity(value).toFixed(3));
      }
      if (i === row.peak) token.classList.add(value ? "peak" : "silent");
      line.append(token);
    });
    return line;
  }

  function gutter(row) {
    const lead = make("span", "lead");
    lead.append(make("b", row.tone ?? "", row.lead));
    if (row.under) lead.append(make("span", "", row.under));
    return lead;
  }

  function copies(row, holder) {
    const many = row.copies.length, at = `${row.id}`;
    const button = make("button", "", "");
    const list = make("div", "copies");
    const show = () => {
      const open = root.unfolded.has(at);
      button.textContent = open ? "fold" : `${many} duplicate${many > 1 ? "s" : ""}`;
      button.setAttribute("aria-expanded", open);
      list.replaceChildren(...(open ? row.copies.map((copy) => line(copy, row.texts)) : []));
    };
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      if (!root.unfolded.delete(at)) root.unfolded.add(at);
      show();
    });
    button.addEventListener("keydown", (event) => event.stopPropagation());
    show();
    holder.append(button, list);
  }

  function line(row, texts) {
    const element = make("div", "example" + (row.open ? " open" : ""));
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", row.said);
    element.dataset.id = row.id;
    const body = make("div", "body");
    if (row.note) body.append(make("div", "note", row.note));
    body.append(text(row, row.texts ?? texts));
    if (row.copies?.length) copies(row, body);
    element.append(gutter(row), body);
    const press = () => setTriggerValue("open", row.open ? "" : row.id);
    element.addEventListener("click", () => { if (picked()) press(); });
    element.addEventListener("keydown", (event) => {
      const next = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Enter") press();
      else if (next) {
        const all = [...root.querySelectorAll(".example")];
        all[all.indexOf(element) + next]?.focus();
        event.preventDefault();
      }
    });
    return element;
  }

  // A click that ends a selection of text is no press.
  function picked() {
    const place = root.getRootNode();
    const selection = place.getSelection ? place.getSelection() : document.getSelection();
    return !selection || selection.isCollapsed;
  }

  function group(one) {
    const head = make("div", "group");
    if (one.name) head.append(make("b", "", one.name));
    for (const said of one.said ?? []) head.append(make("span", "", said));
    const rows = one.rows.map((row) => line(row));
    return [...(one.name ? [head] : []), ...rows, ...(one.empty ? [make("div", "none", one.empty)] : [])];
  }

  const before = root.querySelector(":focus")?.dataset?.id ?? root.getRootNode().activeElement?.dataset?.id;
  root.classList.toggle("wide", Boolean(data.breaks));
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", data.label);
  root.replaceChildren(...data.groups.flatMap(group));
  if (before) [...root.querySelectorAll(".example")].find((e) => e.dataset.id === before)?.focus({ preventScroll: true });
  const opened = root.querySelector(".example.open");
  if (opened && root.opened !== data.open) opened.scrollIntoView({ block: "nearest" });
  root.opened = data.open;
}
