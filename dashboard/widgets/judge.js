// Judging by mouse or keyboard: rate explanations, label, note, lists, undo; in a triage also reveal, skip and walk.
// Everything is saved as it is done. Texts are set with textContent; what a person does is one trigger, `act`.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  const state = (root.state ??= { drafts: {} });
  if (data.keys && state.subject && state.subject !== data.subject) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
  if (state.subject !== data.subject) Object.assign(state, { subject: data.subject, shown: !data.hidden, drafts: {}, focus: null });
  state.sent = 0;

  // A second act on a feature that is about to leave would be about the wrong one.
  function act(what) {
    if (state.sent > Date.now() - 4000) return;
    state.sent = Date.now();
    setTriggerValue("act", { subject: data.subject, ...what });
  }

  function button(text, key, run, title) {
    const b = make("button", "");
    if (key) b.append(make("kbd", "", key), " ");
    b.append(text);
    if (title) b.title = title;
    b.addEventListener("click", run);
    return b;
  }

  function explanation(e, place) {
    const block = make("div", `said ${data.keys ? "" : "small"} ${state.shown ? "" : "covered"}`);
    block.append(make("p", "", state.shown ? e.text : "Look at the evidence first; then show what is said of it."));
    block.append(make("small", "", state.shown ? e.by : ""));
    const parts = [block];
    if (!state.shown) { const line = make("div", "scale"); line.append(button("show", "e", reveal)); return [block, line]; }
    const scale = make("div", "scale");
    scale.setAttribute("role", "group");
    scale.setAttribute("aria-label", `Rating of the explanation by ${e.by}`);
    data.words.forEach((word, i) => {
      const b = make("button"), value = String(i + 1);
      b.append(make("b", "", value));
      if (data.keys || e.mine === value || i === 0 || i === data.words.length - 1) b.append(make("span", "", word));
      b.title = b.ariaLabel = `${value}: ${word}`;
      b.setAttribute("aria-pressed", String(e.mine === value));
      b.disabled = !data.rater;
      b.addEventListener("click", () => rate(place, value));
      scale.append(b);
    });
    const seen = e.others.map(([who, value]) => `${who} ${value}`).join(", ");
    if (seen) scale.append(make("span", "mine", `others: ${seen}`));
    parts.push(scale);
    return parts;
  }

  function rate(place, value) {
    const e = data.explanations[place];
    if (!e || !data.rater) return;
    if (!state.shown) return reveal();
    act({ do: "rate", explanation: e.id, value });
  }
  function reveal() { state.shown = true; draw(); }

  function field(name, label, value, others, rows) {
    const box = make("div", "field"), title = make("label", "", label), input = make(rows ? "textarea" : "input");
    input.id = title.htmlFor = `${name}`;
    if (rows) input.rows = rows;
    input.value = state.drafts[name] ?? value;
    input.disabled = !data.rater;
    input.maxLength = data.longest[name];
    input.placeholder = data.rater ? (name === "label" ? "your own words; Enter saves" : "Enter saves, Shift+Enter a new line") : "say who you are first";
    const save = () => {
      if (input.value.trim() === value.trim()) return;
      delete state.drafts[name];
      state.sent = 0;
      act({ do: name, text: input.value });
    };
    input.addEventListener("input", () => (state.drafts[name] = input.value));
    input.addEventListener("focus", () => (state.focus = name));
    input.addEventListener("blur", () => { if (!state.drawing) { state.focus = null; save(); } });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); input.blur(); }
      else if (event.key === "Escape") { input.value = value; delete state.drafts[name]; input.blur(); }
    });
    box.append(title, input);
    for (const [who, text] of others) box.append(make("div", "others", `${who}: ${text}`));
    return box;
  }

  function lists() {
    const box = make("div", "field"), title = make("label", "", "Lists"), input = make("input"), known = make("datalist"), chips = make("div", "chips");
    input.id = title.htmlFor = "lists";
    input.placeholder = data.rater ? "add to a list, or to a new one; Enter" : "say who you are first";
    input.disabled = !data.rater;
    input.maxLength = data.longest.list;
    input.setAttribute("list", "known");
    known.id = "known";
    for (const name of data.lists.known) known.append(Object.assign(make("option"), { value: name }));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && input.value.trim()) act({ do: "list", name: input.value });
    });
    for (const [id, name] of data.lists.member) {
      const chip = make("span", "chip", name), away = make("button", "", "×");
      away.title = away.ariaLabel = `Take it out of ${name}`;
      away.addEventListener("click", () => act({ do: "unlist", list: id }));
      chip.append(away);
      chips.append(chip);
    }
    box.append(title, input, known, chips);
    return box;
  }

  function head() {
    const q = data.queue, line = make("div", "why", `${q.place} of ${q.total} · ${q.handled} done · ${q.reason}`);
    const bar = make("div", "progress"), fill = make("i");
    fill.style.width = `${(100 * q.handled) / Math.max(1, q.total)}%`;
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuenow", q.handled); bar.setAttribute("aria-valuemax", q.total); bar.ariaLabel = "done";
    bar.append(fill);
    return [line, bar];
  }

  function foot() {
    const line = make("div", "foot");
    const undo = button(data.undo ? `undo: ${data.undo}` : "nothing to undo", data.keys ? "u" : "", () => act({ do: "undo", things: data.things }));
    undo.disabled = !data.undo;
    undo.setAttribute("aria-live", "polite");
    if (data.keys) line.append(button("back", "←", () => act({ do: "back" })), button("skip", "s", () => act({ do: "skip" })), button("next", "→", () => act({ do: "next" })));
    line.append(undo);
    if (data.keys) {
      const hint = make("span");
      for (const [key, text] of [["1", ""], ["5", " rate "], ["l", " label "], ["n", " note"]]) hint.append(make("kbd", "", key), text || "–");
      line.append(hint);
    }
    return line;
  }

  function draw() {
    state.drawing = true;
    const parts = data.queue ? head() : [];
    data.explanations.forEach((e, i) => parts.push(...explanation(e, i)));
    if (!data.explanations.length && data.unexplained) parts.push(make("div", "why", data.unexplained));
    const hide = data.hidden && !state.shown;
    if (data.label !== null) parts.push(field("label", "Label", data.label, hide ? [] : data.labels));
    parts.push(field("note", "Note", data.note, data.notes, data.note.length > 70 ? 3 : 1));
    if (data.lists) parts.push(lists());
    parts.push(foot());
    root.replaceChildren(...parts);
    if (state.focus) root.querySelector(`#${state.focus}`)?.focus();
    state.drawing = false;
  }

  const keys = { e: reveal, " ": reveal, s: () => act({ do: "skip" }), u: () => data.undo && act({ do: "undo", things: data.things }),
    ArrowLeft: () => act({ do: "back" }), ArrowRight: () => act({ do: "next" }),
    l: () => root.querySelector("#label").focus(), n: () => root.querySelector("#note").focus() };
  function pressed(event) {
    const typing = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(typing.tagName) || typing.isContentEditable) return;
    if (event.key === " " && typing.tagName === "BUTTON") return;
    const run = keys[event.key];
    if (/^[1-5]$/.test(event.key)) rate(0, event.key);
    else if (run) run();
    else return;
    event.preventDefault();
  }
  draw();
  state.off?.();  // this function runs again for new data, and the old listener would speak of the old feature
  if (data.keys) document.addEventListener("keydown", pressed);
  state.off = () => document.removeEventListener("keydown", pressed);
  return () => state.off();
}
