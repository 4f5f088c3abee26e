// A table whose every text is set with textContent. Links and picked rows are triggers; the address says what is selected.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const order = root.order ?? { column: null, up: true };
  root.order = order;

  function make(kind, className, text) {
    const element = document.createElement(kind);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }
  const value = (cell) => (cell !== null && typeof cell === "object" ? cell : { text: cell });
  const key = (cell) => { const v = value(cell); return v.sort ?? v.text ?? ""; };

  function sorted() {
    if (order.column === null || order.column >= data.columns.length) return data.rows;
    const c = order.column;
    const compare = (a, b) => {
      const x = key(a.cells[c]), y = key(b.cells[c]);
      return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    };
    return [...data.rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
  }

  function fill(td, raw) {
    const cell = value(raw);
    if (cell.title) td.title = cell.title;
    if (cell.tone) td.classList.add(cell.tone);
    const text = cell.text === null || cell.text === undefined ? "—" : String(cell.text);
    if (cell.page) {
      const a = make("a", "", text);
      a.href = cell.page + "?" + new URLSearchParams(cell.query ?? {});
      a.addEventListener("click", (event) => {
        event.stopPropagation();
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        setTriggerValue("go", [cell.page, cell.query ?? {}]);
      });
      td.append(a);
    } else td.append(text);
    if (cell.bar !== undefined) {
      const bar = make("span", "bar" + (cell.bar < 0 ? " negative" : ""));
      bar.style.width = `calc((100% - 18px) * ${Math.min(1, Math.abs(cell.bar))})`;
      td.append(bar);
    }
  }

  function pickable(tr, row) {
    tr.classList.add("pick");
    tr.tabIndex = 0;
    const pick = () => setTriggerValue("pick", row.id);
    tr.addEventListener("click", pick);
    tr.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === tr) pick();
      const next = { ArrowDown: tr.nextElementSibling, ArrowUp: tr.previousElementSibling }[event.key];
      if (next) { next.focus(); event.preventDefault(); }
    });
  }

  function body() {
    const tbody = make("tbody");
    for (const row of sorted()) {
      const tr = make("tr", row.id !== undefined && row.id === data.selected ? "selected" : "");
      if (data.pick) pickable(tr, row);
      row.cells.forEach((cell, i) => {
        const td = make("td", data.columns[i].kind ?? "");
        fill(td, cell);
        tr.append(td);
      });
      tbody.append(tr);
    }
    return tbody;
  }

  function head() {
    const tr = make("tr");
    data.columns.forEach((column, i) => {
      const th = make("th", column.kind ?? "");
      if (column.title) th.title = column.title;
      if (data.sort) {
        const arrow = order.column === i ? (order.up ? " ↑" : " ↓") : "";
        const button = make("button", "", column.label + arrow);
        button.addEventListener("click", () => {
          order.up = order.column === i ? !order.up : !(column.kind ?? "").includes("num");
          order.column = i;
          draw();
        });
        th.append(button);
      } else th.textContent = column.label;
      tr.append(th);
    });
    const thead = make("thead");
    thead.append(tr);
    return thead;
  }

  function csv() {
    const quote = (text) => `"${String(text ?? "").replaceAll('"', '""')}"`;
    const lines = [data.columns.map((c) => quote(c.label))];
    for (const row of sorted()) lines.push(row.cells.map((cell) => quote(value(cell).raw ?? value(cell).text)));
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  }

  function foot() {
    const line = make("div", "foot");
    if (data.note) line.append(make("span", "", data.note));
    if (data.csv) {
      const button = make("button", "", "CSV");
      button.title = `Save these ${data.rows.length} rows as ${data.csv}`;
      button.addEventListener("click", () => {
        const a = make("a");
        a.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
        a.download = data.csv;
        a.click();
        URL.revokeObjectURL(a.href);
      });
      line.append(button);
    }
    return line;
  }

  function draw() {
    const top = root.querySelector(".scroll")?.scrollTop ?? 0;
    const scroll = make("div", "scroll");
    if (data.height) scroll.style.maxHeight = `${data.height}px`;
    const table = make("table");
    table.setAttribute("aria-label", data.label ?? "table");
    table.append(head(), body());
    scroll.append(table);
    root.replaceChildren(scroll);
    if (data.note || data.csv) root.append(foot());
    scroll.scrollTop = top;
    const chosen = scroll.querySelector("tr.selected");
    if (chosen && root.chosen !== data.selected) {
      if (chosen.offsetTop < scroll.scrollTop || chosen.offsetTop > scroll.scrollTop + scroll.clientHeight - 30)
        scroll.scrollTop = chosen.offsetTop - scroll.clientHeight / 2;
    }
    root.chosen = data.selected;
  }
  draw();
}
