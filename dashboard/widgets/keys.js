// A bar of links and switches, each with its key; "?" unfolds what all keys do. Keys are left alone while one types.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");

  function run(action) {
    if (action.off) return;
    if (action.page) setTriggerValue("go", [action.page, action.query ?? {}]);
    else setTriggerValue("press", action.name);
  }

  function labelled(element, action) {
    element.append(make("span", "", action.label));
    if (action.key) element.append(make("kbd", "", action.key));
    if (action.key) element.setAttribute("aria-keyshortcuts", action.key);
    if (action.title) element.title = action.title;
    return element;
  }

  function drawn(action) {
    if (action.off) {
      const quiet = labelled(make("span", "off"), action);
      quiet.setAttribute("aria-disabled", "true");
      return quiet;
    }
    if (!action.page) {
      const button = labelled(make("button", ""), action);
      if (action.pressed !== undefined) button.setAttribute("aria-pressed", action.pressed);
      button.addEventListener("click", () => run(action));
      return button;
    }
    const link = labelled(make("a"), action);
    link.href = action.page + "?" + new URLSearchParams(action.query ?? {});
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      run(action);
    });
    return link;
  }

  function help() {
    const list = make("dl", "help");
    const keyed = data.actions.filter((action) => action.key).map((action) => [action.key, action.help ?? action.label]);
    for (const [key, what] of [...keyed, ...data.help, ["?", "show or hide this list"]])
      list.append(make("dt", "", key), make("dd", "", what));
    return list;
  }

  function turn() {
    root.helping = !root.helping;
    draw();
  }

  function draw() {
    const bar = make("div", "bar");
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", data.label);
    bar.append(...data.actions.map(drawn));
    const button = labelled(make("button", "", ""), { label: "keys", key: "?" });
    button.setAttribute("aria-expanded", Boolean(root.helping));
    button.addEventListener("click", turn);
    bar.append(button);
    root.replaceChildren(bar, ...(root.helping ? [help()] : []));
  }

  function typing(event) {
    const target = event.composedPath()[0];
    return target instanceof Element && (target.isContentEditable || target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select"));
  }

  function pressed(event) {
    const plain = event.getModifierState("AltGraph") || !(event.ctrlKey || event.altKey || event.metaKey);
    if (event.defaultPrevented || event.repeat || !plain || typing(event)) return;
    if (event.key === "?") turn();
    else if (event.key === "Escape" && root.helping) turn();
    else {
      const action = data.actions.find((one) => one.key === event.key);
      if (!action) return;
      run(action);
    }
    event.preventDefault();
  }

  draw();
  root.stop?.();
  const page = root.ownerDocument;
  page.addEventListener("keydown", pressed);
  root.stop = () => page.removeEventListener("keydown", pressed);
  return () => root.stop();
}
