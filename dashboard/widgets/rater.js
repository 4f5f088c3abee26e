// Who judges: asked once, kept in this browser alone (localStorage), never in the address.
const KEY = "lacewing-rater";

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const store = { get: () => { try { return localStorage.getItem(KEY); } catch { return null; } },
    set: (name) => { try { localStorage.setItem(KEY, name); } catch { /* a browser that keeps nothing asks again */ } } };

  function form(value) {
    const line = make("form", "line"), label = make("label", "", "Your name"), input = make("input"), save = make("button", "", "Save");
    Object.assign(input, { value, maxLength: data.longest, id: "rater", autocomplete: "off", spellcheck: false });
    label.htmlFor = "rater";
    line.append(label, input, save, make("span", "quiet", "stands beside what you write; kept in this browser"));
    line.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name) { store.set(name); setTriggerValue("name", name); }
    });
    root.replaceChildren(line);
    return input;
  }

  if (data.name) {
    const line = make("div", "line"), change = make("button", "", "change");
    line.append(make("span", "quiet", "judging as"), make("b", "", data.name), change);
    change.addEventListener("click", () => form(data.name).select());
    root.replaceChildren(line);
    if (store.get() !== data.name && !data.given) store.set(data.name);
  } else {
    form("");
    const known = store.get();
    if (known) setStateValue("known", known);
  }
}
