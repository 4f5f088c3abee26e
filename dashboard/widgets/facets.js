// A row of filters. Each opens a menu (a popover, which the browser puts above everything and closes on Escape) of values with
// counts; a choice is a trigger, and the address says what is chosen. Every text is set with textContent.
export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".root");
  root.trigger = component.setTriggerValue;
  const whole = new Intl.NumberFormat("en");
  const choose = (name, values) => root.trigger("choose", [name, values]);
  const spelled = (facet, value) => facet.values.find((v) => v.value === value)?.label ?? value;

  // Menus ------------------------------------------------------------------------------------------------------------

  function option(facet, value, most) {
    const is = facet.chosen.includes(value.value);
    const line = make("button", "option" + (is ? " is" : "") + (value.count ? "" : " empty"));
    line.setAttribute("role", facet.ranged ? "menuitemradio" : "menuitemcheckbox");
    line.setAttribute("aria-checked", String(is));
    line.dataset.value = value.value;
    if (value.title) line.title = value.title;
    const bar = make("i");
    bar.style.width = `calc((100% - 28px) * ${most ? value.count / most : 0})`;
    line.append(make("b", "", is ? "✓" : ""), make("span", "", value.label), make("em", "", whole.format(value.count)), bar);
    line.addEventListener("click", (event) => {
      if (facet.ranged) choose(facet.name, is ? [] : [event.shiftKey && facet.chosen[0] ? joined(facet.chosen[0], value.value) : value.value]);
      else choose(facet.name, is ? facet.chosen.filter((v) => v !== value.value) : [...facet.chosen, value.value]);
    });
    return line;
  }

  // The range from the lower of two beginnings to the higher of two ends; an end left out has no bound.
  function joined(one, other) {
    const [a, b] = one.split(".."), [c, d] = other.split("..");
    const low = a === "" || c === "" ? "" : Number(a) < Number(c) ? a : c;
    const high = b === "" || d === "" ? "" : Number(b) > Number(d) ? b : d;
    return `${low}..${high}`;
  }

  function ends(facet) {
    const form = make("form", "ends");
    const [low, high] = (facet.chosen[0] ?? "..").split("..");
    const inputs = [["from", low], ["below", high]].map(([name, value]) => {
      const label = make("label", "", name + " "), input = make("input");
      Object.assign(input, { type: "text", inputMode: "decimal", value });
      input.dataset.value = name;
      label.append(input);
      form.append(label);
      return input;
    });
    form.append(make("button", "", "Apply"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = inputs.map((input) => input.value.trim());
      choose(facet.name, wanted.some(Boolean) ? [wanted.join("..")] : []);
    });
    return form;
  }

  function search(menu) {
    const input = make("input", "within");
    Object.assign(input, { type: "search", placeholder: "find", value: menu.within ?? "" });
    input.setAttribute("aria-label", "find a value");
    input.dataset.value = " find";
    const narrow = () => {
      menu.within = input.value;
      for (const line of menu.querySelectorAll(".option"))
        line.hidden = !line.textContent.toLowerCase().includes(input.value.toLowerCase());
    };
    input.addEventListener("input", narrow);
    queueMicrotask(narrow);
    return input;
  }

  function fill(menu, facet) {
    const held = root.getRootNode().activeElement;
    const kept = menu.contains(held) ? held.dataset.value : undefined;
    const scroll = menu.querySelector(".options")?.scrollTop ?? 0;
    const options = make("div", "options");
    const most = Math.max(0, ...facet.values.map((v) => v.count));
    options.append(...facet.values.filter((v) => v.count >= 0).map((value) => option(facet, value, most)));
    menu.replaceChildren(...(facet.values.length > 12 ? [search(menu)] : []), options);
    if (!facet.values.length) options.append(make("p", "quiet", "nothing to choose from yet"));
    if (facet.ranged) menu.append(ends(facet));
    if (facet.help) menu.append(make("p", "quiet", facet.help));
    options.scrollTop = scroll;
    if (kept !== undefined) menu.querySelector(`[data-value="${CSS.escape(kept)}"]`)?.focus();
  }

  function walk(event) {
    const lines = [...event.currentTarget.querySelectorAll(".option:not([hidden])")];
    const at = lines.indexOf(event.target);
    const next = { ArrowDown: lines[at + 1], ArrowUp: lines[at - 1], Home: lines[0], End: lines.at(-1) }[event.key];
    if (!next || (event.target.localName === "input" && event.key !== "ArrowDown")) return;
    next.focus();
    event.preventDefault();
  }

  function opened(button, menu) {
    const box = button.getBoundingClientRect();
    menu.style.top = `${Math.min(box.bottom + 4, innerHeight - 120)}px`;
    menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - 320))}px`;
    menu.style.maxHeight = `${Math.max(160, innerHeight - box.bottom - 20)}px`;
    menu.querySelector(".option.is, .option, input")?.focus();
  }

  function facet(item) {
    const known = root.menus[item.name];
    const button = known?.button ?? make("button", "facet");
    const menu = known?.menu ?? make("div", "menu");
    if (!known) {
      menu.popover = "auto";
      menu.setAttribute("role", "menu");
      menu.addEventListener("keydown", walk);
      menu.addEventListener("toggle", (event) => {
        button.setAttribute("aria-expanded", String(event.newState === "open"));
        if (event.newState === "open") opened(button, menu);
        else if (root.getRootNode().activeElement === null) button.focus();
      });
      button.popoverTargetElement = menu;
      button.setAttribute("aria-haspopup", "menu");
      root.bar.append(button, menu);
      root.menus[item.name] = { button, menu };
    }
    menu.setAttribute("aria-label", item.label);
    button.classList.toggle("on", item.chosen.length > 0);
    const said = item.chosen.length > 1 ? `${item.chosen.length} chosen` : item.chosen.map((v) => spelled(item, v))[0];
    button.replaceChildren(make("span", "", item.label), ...(said ? [make("strong", "", said)] : []), make("i", "", "▾"));
    fill(menu, item);
  }

  // The text and the chips -------------------------------------------------------------------------------------------

  function text() {
    const input = make("input", "text");
    Object.assign(input, { type: "search", placeholder: "explanation or label contains…", maxLength: 80 });
    input.setAttribute("aria-label", "explanation or label contains");
    const send = () => {
      clearTimeout(root.timer);
      if (input.value.trim() !== root.asked) choose("text", (root.asked = input.value.trim()) ? [root.asked] : []);
    };
    input.addEventListener("input", () => { clearTimeout(root.timer); root.timer = setTimeout(send, 350); });
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") send(); });
    input.addEventListener("search", send);
    return input;
  }

  function chip(name, label, value, rest) {
    const found = make("button", "chip");
    found.append(make("span", "", label ? `${label}: ` : ""), make("strong", "", value), make("i", "", "✕"));
    found.setAttribute("aria-label", `remove ${label} ${value}`);
    found.addEventListener("click", () => choose(name, rest));
    return found;
  }

  function chips() {
    const line = make("div", "chips");
    line.append(make("b", "", data.count));
    for (const item of data.facets)
      for (const value of item.chosen)
        line.append(chip(item.name, item.label, spelled(item, value), item.chosen.filter((v) => v !== value)));
    if (data.text) line.append(chip("text", "contains", data.text, []));
    if (line.children.length > 1) {
      const reset = make("button", "reset", "reset");
      reset.addEventListener("click", () => choose("reset", []));
      line.append(reset);
    }
    if (data.note) line.append(make("span", "quiet", data.note));
    line.setAttribute("aria-live", "polite");
    return line;
  }

  if (!root.bar) {
    root.bar = make("div", "bar");
    root.menus = {};
    root.input = text();
    root.bar.append(root.input);
    root.below = make("div");
    root.replaceChildren(root.bar, root.below);
  }
  data.facets.forEach(facet);
  const typing = root.getRootNode().activeElement === root.input;
  if (!typing || data.text !== root.asked) {
    if (!typing) root.input.value = data.text;
    root.asked = data.text;
  }
  root.below.replaceChildren(chips());
}
