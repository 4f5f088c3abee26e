// A table whose every text is set with textContent. Links, picked rows, pages and orders are triggers; the address says what
// is shown. `root` keeps what must outlive a redraw: the order of the rows, the row walked to, and the pick on its way.
const PATIENCE = 2000; // milliseconds after which a pick that nobody answered is taken for lost
const PAUSE = 70; // milliseconds of rest after a key before the row is picked: a held key picks where it stops

const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };
const TURNS = { PageDown: 1, "]": 1, PageUp: -1, "[": -1 };

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".root");
  const order = (root.order ??= { column: null, up: true });
  root.data = data;
  root.trigger = component.setTriggerValue;
  const value = (cell) => (cell !== null && typeof cell === "object" ? cell : { text: cell });
  const key = (cell) => { const v = value(cell); return v.sort ?? v.text ?? ""; };

  function sorted() {
    if (order.column === null || order.column >= data.columns.length || data.order !== undefined) return data.rows;
    const c = order.column;
    const compare = (a, b) => {
      const x = key(a.cells[c]), y = key(b.cells[c]);
      return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    };
    return [...data.rows].sort((a, b) => (order.up ? compare(a, b) : compare(b, a)));
  }

  // The server writes the address of the page that is opened. Where the row is a part of the address, the answer to a pick on
  // its way is waited for, since it changes whatever address then stands there; Back returns to the row walked to.
  function go(page, query) {
    clearTimeout(root.timer);
    root.timer = undefined;
    if (data.param && root.sent !== undefined) { root.going = [page, query]; return; }
    root.going = undefined;
    if (root.wanted !== undefined) address(root.wanted);
    root.trigger("go", [page, query]);
  }

  // Picks ------------------------------------------------------------------------------------------------------------

  function address(id) {
    if (!data.param) return;
    const url = new URL(location.href);
    url.searchParams.set(data.param, id);
    history.replaceState(history.state, "", url);
  }

  // One pick is on its way at a time, so that an answer to an older one never moves the row that was walked to since.
  function send() {
    root.timer = undefined;
    if (root.wanted === undefined || root.sent !== undefined) return;
    address(root.wanted);
    // Picking what is shown changes nothing but the address: nobody would answer. Elsewhere a second pick may let a row go.
    if (data.param && root.wanted === root.data.selected) { root.wanted = undefined; return; }
    root.sent = root.wanted;
    root.trigger("pick", root.sent);
    root.lost = setTimeout(() => {
      root.sent = undefined;
      if (root.going) root.go(...root.going);
      else if (root.wanted !== root.data.selected) send();
    }, PATIENCE);
  }

  function rest(milliseconds) {
    clearTimeout(root.timer);
    root.timer = setTimeout(send, milliseconds);
  }

  function answered() {
    if (root.sent !== undefined && data.selected !== root.sent) return;
    clearTimeout(root.lost);
    root.sent = undefined;
    if (root.wanted === data.selected) root.wanted = undefined;
    if (root.going) go(...root.going);
    else if (root.wanted !== undefined && root.timer === undefined) send();
  }

  root.go = go;
  const rows = () => [...root.querySelectorAll("tbody tr")];
  const current = () => root.wanted ?? root.data.selected;

  function mark() {
    const chosen = current();
    const all = rows();
    const stop = all.find((tr) => tr.row.id === (root.stop ?? chosen)) ?? all.find((tr) => tr.row.id === chosen) ?? all[0];
    for (const tr of all) {
      const is = tr.row.id !== undefined && tr.row.id === chosen;
      tr.classList.toggle("selected", is);
      if (!data.pick) continue;
      tr.setAttribute("aria-selected", String(is));
      tr.tabIndex = tr === stop ? 0 : -1;
    }
    return stop;
  }

  function choose(tr, at_once) {
    root.stop = tr.row.id;
    root.wanted = tr.row.id;
    mark();
    rest(at_once ? 0 : PAUSE);
  }

  function walk(tr) {
    root.stop = tr.row.id;
    if (data.follow) choose(tr, false);
    else mark();
    tr.focus({ preventScroll: true });
    reveal(tr);
  }

  // Keeps the row in view below the heading, which stays in place.
  function reveal(tr) {
    const scroll = root.querySelector(".scroll"), head = root.querySelector("thead").offsetHeight;
    if (tr.offsetTop - head < scroll.scrollTop) scroll.scrollTop = tr.offsetTop - head;
    else if (tr.offsetTop + tr.offsetHeight > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = tr.offsetTop + tr.offsetHeight - scroll.clientHeight;
    const box = tr.getBoundingClientRect();
    if (box.top < 60 || box.bottom > innerHeight - 8) tr.scrollIntoView({ block: "center" });
  }

  function turn(by, last) {
    const page = data.page + by;
    if (page < 1 || page > data.pages) return false;
    if (root.turning) return true;
    root.turning = setTimeout(() => { root.turning = undefined; }, PATIENCE);
    clearTimeout(root.timer);
    root.timer = root.wanted = root.stop = undefined;
    root.trigger("turn", [page, last]);
    return true;
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const all = rows(), here = all.find((tr) => tr.tabIndex === 0), at = all.indexOf(here);
    let next;
    if (event.key in STEPS) {
      next = all[at + STEPS[event.key]];
      if (!next && all.length && turn(STEPS[event.key], STEPS[event.key] < 0)) { root.refocus = true; event.preventDefault(); }
    } else if (event.key in TURNS && data.pages > 1) {
      root.refocus = turn(TURNS[event.key], false);
      event.preventDefault();
    } else if (event.key === "Home" || event.key === "End") next = event.key === "Home" ? all[0] : all.at(-1);
    else if (event.key === "Enter" && here && event.target.localName === "tr") {
      if (data.follow && here.row.opens) go(...here.row.opens);
      else choose(here, true);
    }
    if (next) { walk(next); event.preventDefault(); }
  }

  // The letters walk it before anything on the page was clicked; arrows and page keys then scroll the page, as everywhere.
  function listen() {
    root.pressed = pressed;
    if (!data.follow || root.listens) return;
    root.listens = (event) => {
      if (!root.isConnected) { document.removeEventListener("keydown", root.listens); return; }
      if (document.activeElement === document.body && "jk[]".includes(event.key)) root.pressed(event);
    };
    document.addEventListener("keydown", root.listens);
  }

  // Cells ------------------------------------------------------------------------------------------------------------

  function fill(td, raw) {
    const cell = value(raw);
    if (cell.title) td.title = cell.title;
    if (cell.tone) td.classList.add(cell.tone);
    const text = cell.text === null || cell.text === undefined ? "—" : String(cell.text);
    if (cell.page) {
      const a = make("a", "", text);
      a.href = cell.page + "?" + new URLSearchParams(cell.query ?? {});
      if (data.pick) a.tabIndex = -1;
      a.addEventListener("click", (event) => {
        event.stopPropagation();
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(cell.page, cell.query ?? {});
      });
      td.append(a);
    } else td.append(text);
    if (cell.bar !== undefined) {
      const bar = make("span", "bar" + (cell.bar < 0 ? " negative" : ""));
      bar.style.width = `calc((100% - 18px) * ${Math.min(1, Math.abs(cell.bar))})`;
      td.append(bar);
    }
  }

  function body() {
    const tbody = make("tbody");
    for (const row of sorted()) {
      const tr = make("tr", data.pick ? "pick" : "");
      tr.row = row;
      row.cells.forEach((cell, i) => {
        const td = make("td", data.columns[i].kind ?? "");
        fill(td, cell);
        tr.append(td);
      });
      tbody.append(tr);
    }
    if (data.pick) {
      tbody.addEventListener("click", (event) => {
        const tr = event.target.closest("tr");
        if (tr) { choose(tr, true); tr.focus({ preventScroll: true }); }
      });
      tbody.addEventListener("keydown", pressed);
    }
    return tbody;
  }

  function heading(column, i) {
    const stored = data.order !== undefined;
    const up = stored ? !data.order.startsWith("-") : order.up;
    const is = stored ? column.order && data.order.replace(/^-/, "") === column.order : order.column === i;
    const th = make("th", column.kind ?? "");
    if (column.title) th.title = column.title;
    if (is) th.setAttribute("aria-sort", up ? "ascending" : "descending");
    const text = column.label + (is ? (up ? " ↑" : " ↓") : "");
    if (!(stored ? column.order : data.sort)) { th.textContent = text; return th; }
    const button = make("button", "", text);
    const first = !(column.kind ?? "").includes("num");
    button.addEventListener("click", () => {
      const next = is ? !up : first;
      if (stored) { root.trigger("order", (next ? "" : "-") + column.order); return; }
      order.up = next;
      order.column = i;
      draw();
    });
    th.append(button);
    return th;
  }

  function head() {
    const tr = make("tr");
    tr.append(...data.columns.map(heading));
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
    const focused = root.querySelector(":focus");
    const inside = focused?.localName === "tr" || root.refocus;
    const top = root.querySelector(".scroll")?.scrollTop ?? 0;
    const scroll = make("div", "scroll");
    if (data.height) scroll.style.maxHeight = typeof data.height === "number" ? `${data.height}px` : data.height;
    const table = make("table");
    table.setAttribute("aria-label", data.label ?? "table");
    if (data.pick) table.setAttribute("role", "grid");
    table.append(head(), body());
    scroll.append(table);
    root.replaceChildren(scroll);
    if (data.note || data.csv) root.append(foot());
    const page = root.page === undefined || root.page === data.page;
    scroll.scrollTop = page ? top : 0;
    root.page = data.page;
    const stop = mark();
    if (inside && stop) { stop.focus({ preventScroll: true }); root.refocus = false; }
    return stop;
  }

  listen();
  answered();
  const content = JSON.stringify([data.columns, data.rows, data.note, data.order, data.page, data.pages, data.height, data.label]);
  const moved = root.chosen !== data.selected && root.wanted === undefined;
  if (moved) root.stop = undefined;
  const stop = content === root.content ? mark() : draw();
  if (content !== root.content) root.turning = clearTimeout(root.turning);
  root.content = content;
  if (stop && moved && root.wanted === undefined && stop.row.id === data.selected) {
    const scroll = root.querySelector(".scroll");
    const head = root.querySelector("thead").offsetHeight;
    if (stop.offsetTop < scroll.scrollTop + head || stop.offsetTop > scroll.scrollTop + scroll.clientHeight - 30)
      scroll.scrollTop = stop.offsetTop - scroll.clientHeight / 2;
  }
  root.chosen = data.selected;
}
