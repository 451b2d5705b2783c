// Measures the two modules on one thread, in a page and in Node. `clock` gives milliseconds.
const MEMBERS = 32;
const AT_ONCE = 64;
const now = Math.floor(Date.now() / 1000);

/** A page of the module for spaces whose key is here: what a deed wants signed is signed at once. */
class Member {
  #heads = new Map();

  constructor({ wasm, spaces }, number) {
    Object.assign(this, { wasm, spaces, number });
    this.seed = new Uint8Array(32).fill(number);
    this.key = wasm.publicKey(this.seed);
    spaces.spacesLoad(number, this.key, [], now, this.seed);
  }

  act(topic, deed) {
    const signatures = [];
    for (;;) {
      const act = { now: now * 1_000_000, seed: this.seed, signatures, ...this.#heads.get(topic) };
      const acted = this.spaces.spacesAct(this.number, topic, deed, act);
      if (acted.failed !== undefined) throw new Error(acted.failed.message);
      if (acted.sign !== undefined) {
        signatures.push(this.wasm.sign(this.seed, acted.sign));
        continue;
      }
      for (const { header, body } of acted.operations) {
        const { seq, id } = this.wasm.verify(topic, header, body);
        this.#heads.set(topic, { seq, id });
      }
      return acted;
    }
  }

  take(topic, operations) {
    this.spaces.spacesTake(this.number, topic, operations, now);
  }
}

/** An owner who knows the keys of all others, from a space where they met. */
function meet(modules) {
  const [owner, ...others] = Array.from({ length: MEMBERS }, (_, place) => new Member(modules, place + 1));
  const topic = "06".repeat(32);
  owner.act(topic, { do: "create", history: true });
  const offer = { do: "offer", role: "editor", uses: MEMBERS, until: now + 3_600 };
  const { invite } = owner.act(topic, offer);
  for (const other of others) owner.take(topic, other.act(topic, { do: "join", invite }).operations);
  return { owner, others };
}

/** Operations a second, and milliseconds. */
export async function rates({ loadSpaces, loadWasm, sealAll, wasm }, clock) {
  const from = clock();
  await loadWasm();
  const load_ms = clock() - from;
  const rate = (work, each = 1) => {
    for (let count = 0; count < 200; count += each) work();
    const from = clock();
    let count = 0;
    while (clock() - from < 1_000) for (let end = count + AT_ONCE; count < end; count += each) work();
    return Math.round((count / (clock() - from)) * 1_000);
  };
  const seed = new Uint8Array(32).fill(1);
  const author = wasm.publicKey(seed);
  const topic = "05".repeat(32);
  const draft = { topic, seq: 0, timestamp: 1, body: wasm.encode("x".repeat(256)) };
  const bytes = wasm.signingBytes(author, draft);
  const { header } = wasm.assemble(author, draft, wasm.sign(seed, bytes));

  const { owner, others } = meet({ wasm, spaces: await loadSpaces() });
  const members = others.map(({ key }) => ({ key, role: "editor" }));
  const creations = ["07", "08", "09"].map((byte) => {
    const before = clock();
    owner.act(byte.repeat(32), { do: "create", history: true, members });
    return clock() - before;
  });
  const data = Array.from({ length: AT_ONCE }, () => new Uint8Array(256));
  const seal = () => sealAll(owner.spaces, owner.number, "07".repeat(32), data, false);
  return {
    load_ms: Math.round(load_ms),
    // The engine compiles the code while it runs for the first time.
    create_32_first_ms: Math.round(creations[0]),
    create_32_ms: Math.round(creations.at(-1)),
    seal_256: rate(seal, AT_ONCE),
    sign: rate(() => wasm.sign(seed, bytes)),
    verify: rate(() => wasm.verify(topic, header, draft.body)),
  };
}
