// Tokens as buttons. Every text is set with textContent; what is chosen is a trigger, and the address says what stays so.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const chosen = new Set(data.chosen);
  const focused = root.getRootNode().activeElement?.dataset?.place;

  function press(place, many) {
    const next = new Set(many ? chosen : []);
    if (chosen.has(place) && (many || chosen.size === 1)) next.delete(place);
    else next.add(place);
    setTriggerValue("choose", [...next].sort((a, b) => a - b).join("."));
  }

  function button(text, place) {
    const element = document.createElement("button");
    element.textContent = text;
    element.dataset.place = place;
    element.title = data.said[place] ?? "";
    element.setAttribute("aria-pressed", chosen.has(place));
    element.setAttribute("aria-label", `token ${place + 1}: ${text}; ${data.said[place] ?? ""}`);
    element.tabIndex = place === ([...chosen][0] ?? 0) ? 0 : -1;
    element.style.setProperty("--a", data.shades[place] ?? 0);
    element.addEventListener("click", (event) => press(place, event.ctrlKey || event.metaKey || event.shiftKey));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -1e9, End: 1e9 }[event.key];
      if (!step) return;
      const all = [...root.querySelectorAll("button")];
      all[Math.min(Math.max(place + step, 0), all.length - 1)].focus();
      event.preventDefault();
    });
    return element;
  }

  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Tokens of the prompt: choose one to see the features that fire there");
  root.replaceChildren(...data.tokens.map(button));
  if (focused !== undefined) root.querySelector(`[data-place="${Number(focused)}"]`)?.focus({ preventScroll: true });
}
