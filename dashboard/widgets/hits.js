// Features that were found, one under the other. Arrows walk, Enter opens. Every text is set with textContent.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");

  function head(line) {
    const first = make("div", "first");
    const link = make("a", "name", line.name);
    link.href = "feature?" + new URLSearchParams({ feature: line.id });
    link.tabIndex = -1;
    link.addEventListener("click", (event) => {
      event.stopPropagation();
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      setTriggerValue("go", line.id);
    });
    first.append(link, make("span", "quiet", line.site));
    if (line.why) first.append(make("span", "why", line.why));
    for (const [text, tone, title] of line.tags) {
      const tag = make("span", "tag " + tone, text);
      if (title) tag.title = title;
      first.append(tag);
    }
    return first;
  }

  function said(line) {
    const text = make("div", "said" + (line.said.length ? "" : " none"));
    if (!line.said.length) text.textContent = "nothing is said of it yet";
    for (const [piece, mark] of line.said) text.append(mark ? make("mark", "", piece) : piece);
    if (line.author) text.append(make("span", "author", line.author));
    return text;
  }

  function example(line) {
    const text = make("div", "text");
    const peak = line.values.indexOf(Math.max(...line.values));
    line.tokens.forEach((token, i) => {
      const span = make("span", "t", token), value = line.values[i];
      if (value > 0) {
        span.classList.add("on");
        if (i === peak) span.classList.add("peak");
        span.dataset.v = value.toFixed(2);
        const share = Math.min(value / (line.top || 1), 1);
        span.style.setProperty("--a", (data.alpha * Math.log10(1 + 9 * share)).toFixed(3));
      }
      text.append(span);
    });
    return text;
  }

  function item(line) {
    const row = make("li");
    row.tabIndex = 0;
    row.dataset.id = line.id;
    row.setAttribute("aria-label", `${line.name} ${line.site}: ${line.said.map(([piece]) => piece).join("")}`);
    row.append(head(line), said(line));
    if (line.tokens) row.append(example(line));
    if (data.pick) row.addEventListener("click", () => setTriggerValue("pick", line.id));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === row) setTriggerValue("go", line.id);
      const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
      if (next) { next.focus(); event.preventDefault(); }
    });
    return row;
  }

  const list = make("ol");
  list.setAttribute("aria-label", `${data.label}; arrows walk, Enter opens`);
  list.append(...data.lines.map(item));
  root.replaceChildren(list);
}
