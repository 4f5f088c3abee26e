// A block of bytes as what is drawn: columns of nodes and edges, ids, and which edges touch a node, the strongest first.
const ARRAYS = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array };
const padded = (length) => length + ((4 - (length % 4)) % 4);

function unpack(bytes) {
  const buffer = bytes.byteOffset % 4 ? bytes.slice().buffer : bytes.buffer, base = bytes.byteOffset % 4 ? 0 : bytes.byteOffset;
  const length = new DataView(buffer, base, 4).getUint32(0, true);
  const scene = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, base + 4, length)));
  let at = base + 4 + padded(length);
  for (const [name, kind, count] of scene.columns_of) {
    scene[name] = new ARRAYS[kind](buffer, at, count);
    at += padded(scene[name].byteLength);
  }
  scene.count = scene.x.length;
  scene.ids = Array.from({ length: scene.count }, (_, i) => nodeId(scene, i));
  scene.numbers = new Map(scene.ids.map((id, i) => [id, i]));
  scene.kindOf = (i) => scene.kinds[scene.kind[i]];
  scene.top = greatest(scene.effect, (i) => scene.kindOf(i) !== "logit");
  scene.topWeight = greatest(scene.weight, () => true);
  touch(scene);
  return scene;
}

function nodeId(scene, i) {
  const site = scene.sites[scene.site[i]], place = site ? `${site}/` : "";
  return `${place}${scene.kinds[scene.kind[i]]}${scene.latent[i] < 0 ? "" : `:${scene.latent[i]}`}@${scene.position[i]}`;
}

function greatest(values, wanted) {
  let top = 0;
  for (let i = 0; i < values.length; i++) if (wanted(i)) top = Math.max(top, Math.abs(values[i]));
  return top || 1;
}

/** scene.edgesOf(i): the numbers of the edges at a node, in the order in which edges came. */
function touch(scene) {
  const { source, target, count } = scene, start = new Uint32Array(count + 1), m = source.length;
  for (let e = 0; e < m; e++) { start[source[e] + 1]++; start[target[e] + 1]++; }
  for (let i = 0; i < count; i++) start[i + 1] += start[i];
  const list = new Uint32Array(2 * m), next = start.slice();
  for (let e = 0; e < m; e++) { list[next[source[e]]++] = e; list[next[target[e]]++] = e; }
  scene.edgesOf = (i) => list.subarray(start[i], start[i + 1]);
}

/** Units are what one can point at: the nodes by number, then the groups. */
function grouped(scene, marks) {
  const owner = new Int32Array(scene.count).fill(-1), groups = [];
  for (const group of marks.groups) {
    const members = group.nodes.map((id) => scene.numbers.get(id)).filter((i) => i !== undefined && owner[i] < 0);
    if (!members.length) continue;
    const unit = scene.count + groups.length, size = members.length;
    for (const i of members) owner[i] = unit;
    const mean = (values) => members.reduce((sum, i) => sum + values[i], 0) / size;
    const effect = members.reduce((sum, i) => sum + scene.effect[i], 0);
    groups.push({ ...group, members, x: mean(scene.x), y: mean(scene.y), effect, known: group.nodes.length });
  }
  return { owner, groups };
}

/** The edges of a unit as [from unit, to unit, weight], those between the same two summed, the strongest first. */
function links(scene, units, unit) {
  const members = unit < scene.count ? [unit] : units.groups[unit - scene.count].members, sums = new Map();
  const unitOf = (i) => (units.owner[i] < 0 ? i : units.owner[i]), many = scene.count + units.groups.length;
  for (const i of members)
    for (const e of scene.edgesOf(i)) {
      const from = unitOf(scene.source[e]), to = unitOf(scene.target[e]);
      if (from !== to) sums.set(from * many + to, (sums.get(from * many + to) ?? 0) + scene.weight[e]);
    }
  const found = Array.from(sums, ([pair, weight]) => [Math.floor(pair / many), pair % many, weight]);
  return found.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
}
