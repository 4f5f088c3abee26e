// Pins and groups, with undo. They change here at once; the server hears of it when the hand has been still for a moment.
// An answer that is older than what was done here since is not taken; anything else it says (Back, a link, the panel of
// groups) is.
const STILL = 350, PATIENCE = 4000;
const plain = (m) => ({
  pinned: [...(m?.pinned ?? [])], dismissed: [...(m?.dismissed ?? [])],
  groups: (m?.groups ?? []).map((g) => ({ id: g.id, name: g.name, nodes: [...g.nodes] })),
});
const said = (m) => JSON.stringify(plain(m));

function marking(send, changed) {
  const history = { past: [], future: [] };
  let now = plain(null), timer = 0, sent = null, when = 0;
  const tell = () => { timer = 0; sent = said(now); when = performance.now(); send(plain(now)); };
  const later = () => { clearTimeout(timer); timer = setTimeout(tell, STILL); };
  const step = (from, to) => {
    const other = from.pop();
    if (!other) return false;
    to.push(now); now = other; later(); changed();
    return true;
  };
  return {
    get now() { return now; },
    get settled() { return !timer && sent === null; },
    set(next) {
      if (said(next) === said(now)) return;
      history.past.push(now); history.future.length = 0;
      now = plain(next); later(); changed();
    },
    hear(marks, first) {
      const heard = said(marks), waiting = sent !== null && performance.now() - when < PATIENCE;
      if (heard === sent) sent = null;
      if (heard === said(now) || timer || (waiting && sent !== null)) return;
      sent = null;
      if (!first) { history.past.push(now); history.future.length = 0; }
      now = plain(marks); changed();
    },
    undo: () => step(history.past, history.future),
    redo: () => step(history.future, history.past),
    get past() { return history.past.length; },
    get future() { return history.future.length; },
    stop: () => clearTimeout(timer),
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
