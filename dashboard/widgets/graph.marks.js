// Pins and groups, with undo. They change here at once; the server hears of it when the hand has been still for a moment.
// Each telling has a turn, which the server says again once it has kept it: what it says of an older turn is not taken,
// anything else (Back, a link, the panel of groups) is.
const STILL = 350;
const plain = (m) => ({
  pinned: [...(m?.pinned ?? [])], dismissed: [...(m?.dismissed ?? [])],
  groups: (m?.groups ?? []).map((g) => ({ id: g.id, name: g.name, nodes: [...g.nodes] })),
});
const said = (m) => JSON.stringify(plain(m));

function marking(send, changed) {
  const history = { past: [], future: [] };
  let now = plain(null), timer = 0, turn = 0;
  const tell = () => { timer = 0; turn += 1; send({ ...plain(now), turn }); };
  const later = () => { clearTimeout(timer); timer = setTimeout(tell, STILL); };
  const step = (from, to) => {
    const other = from.pop();
    if (!other) return false;
    to.push(now); now = other; later(); changed();
    return true;
  };
  return {
    get now() { return now; },
    set(next) {
      if (said(next) === said(now)) return;
      history.past.push(now); history.future.length = 0;
      now = plain(next); later(); changed();
    },
    hear(marks, kept, first) {
      if (first) turn = kept;
      if (timer || kept < turn || said(marks) === said(now)) return;
      if (!first) { history.past.push(now); history.future.length = 0; }
      now = plain(marks); changed();
    },
    undo: () => step(history.past, history.future),
    redo: () => step(history.future, history.past),
    get past() { return history.past.length; },
    get future() { return history.future.length; },
    stop: () => { if (timer) { clearTimeout(timer); tell(); } },
  };
}

function pinned(marks, id, on) {
  const rest = marks.pinned.filter((other) => other !== id);
  return { ...marks, pinned: on ? [...rest, id] : rest };
}

/** What is pinned and `extra` as one group; a group among `extra` takes the pins in. */
function gathered(marks, extra, name) {
  const into = marks.groups.find((g) => extra.includes(g.id)), taken = new Set(marks.groups.flatMap((g) => g.nodes));
  const nodes = [...marks.pinned, ...extra].filter((id, i, all) => id.includes("@") && all.indexOf(id) === i && !taken.has(id));
  if (into ? !nodes.length : nodes.length < 2) return null;
  const rest = { ...marks, pinned: marks.pinned.filter((id) => !nodes.includes(id)) };
  if (into) return { ...rest, groups: marks.groups.map((g) => (g === into ? { ...g, nodes: [...g.nodes, ...nodes] } : g)) };
  let number = 1;
  while (marks.groups.some((g) => g.id === `g${number}`)) number++;
  return { ...rest, groups: [...marks.groups, { id: `g${number}`, name: name(nodes) || `group ${number}`, nodes }] };
}
