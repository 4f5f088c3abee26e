// Groups and suggested ones. A name is an input that saves on Enter or when it is left; every act is the trigger `act`.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component, root = parentElement.querySelector(".root");
  const button = (text, title, message) => {
    const made = make("button", "", text);
    made.type = "button"; made.title = title; made.setAttribute("aria-label", title);
    made.addEventListener("click", () => setTriggerValue("act", message()));
    return made;
  };
  const row = (list, ...parts) => { const line = make("li", ""); line.append(...parts); list.append(line); return line; };

  const made = make("ul", "made"), offers = make("ul", "offers");
  made.setAttribute("aria-label", "Groups"); offers.setAttribute("aria-label", "Suggested groups");
  for (const group of data.groups) {
    const name = make("input", "name"), save = () => name.value.trim() && name.value.trim() !== group.name && setTriggerValue("act", { act: "rename", id: group.id, name: name.value.trim() });
    name.value = group.name; name.maxLength = 80; name.setAttribute("aria-label", `Name of group ${group.id}`);
    name.addEventListener("keydown", (event) => { if (event.key === "Enter") name.blur(); else if (event.key === "Escape") { name.value = group.name; name.blur(); } });
    name.addEventListener("blur", save);
    const line = row(made, name, make("span", `num ${group.up ? "positive" : "negative"}`, group.effect), make("span", "quiet", `${group.size} nodes`),
      button("Open", `Show group ${group.name}`, () => ({ act: "open", id: group.id })),
      button("Split", `Split group ${group.name}: its nodes stay pinned`, () => ({ act: "split", id: group.id })),
      button("Remove", `Remove group ${group.name}: its nodes are as before`, () => ({ act: "remove", id: group.id })));
    if (group.selected) line.classList.add("selected");
  }
  for (const offer of data.offers) {
    const what = make("span", "what");
    what.append(make("b", "", offer.name), make("span", "quiet", `${offer.size} nodes: ${offer.reason}`));
    row(offers, what, button("Group", `Accept: group ${offer.name}`, () => ({ act: "accept", id: offer.key })),
      button("Dismiss", `Dismiss: ${offer.name}`, () => ({ act: "dismiss", id: offer.key })));
  }
  const column = (title, list, empty) => {
    const box = make("section", "");
    box.append(make("h3", "", title), list.children.length ? list : make("p", "quiet", empty));
    return box;
  };
  root.replaceChildren(
    column(`Groups (${data.groups.length})`, made, "Pin two nodes or more in the graph (P), then press G."),
    column(`Suggested (${data.offers.length})`, offers, data.none || "Nothing suggests itself among the nodes shown."));
}
