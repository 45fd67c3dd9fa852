// The network: its file, what runs it, and its answers.

const RUNTIME = "./onnxruntime-web/";

/** Loads everything; `say` is told what is done now. */
export async function loadNetwork(say) {
  say("Loading the description\u2026");
  const described = await (await get("model.json")).json();
  say("Loading what runs the network\u2026");
  const ort = await import(`${RUNTIME}ort.wasm.bundle.min.mjs`);
  ort.env.wasm.numThreads = 1; // more would need headers that simple servers do not send
  ort.env.wasm.wasmPaths = { wasm: new URL(`${RUNTIME}ort-wasm-simd-threaded.wasm`, import.meta.url).href };
  say("Loading the network\u2026");
  const model = new Uint8Array(await (await get(described.file)).arrayBuffer());
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Network(described, ort, session);
}

async function get(name) {
  const address = new URL(name, import.meta.url);
  const answer = await fetch(address, { cache: "no-cache" }); // an older file would not fit the others
  if (!answer.ok) throw new Error(`${name} is not there (${answer.status})`);
  return answer;
}

class Network {
  constructor(described, ort, session) {
    this.described = described;
    this.labels = described.description.label_names;
    this.ort = ort;
    this.session = session;
    this.turn = Promise.resolve();
  }

  /**
   * Answers one picture; another that is asked for meanwhile waits.
   * @param prepared Pixels with width and height, see pixels.js.
   * @returns {{best: {label: string, probability: number}[], exit: number | null, milliseconds: number}}
   */
  answer(prepared) {
    const mine = this.turn.then(() => this.run(prepared));
    this.turn = mine.catch(() => undefined);
    return mine;
  }

  async run({ pixels, width, height }) {
    const image = new this.ort.Tensor("uint8", pixels, [1, height, width, 3]);
    const begun = performance.now();
    const found = await this.session.run({ image });
    const milliseconds = performance.now() - begun;
    const probabilities = [...found.probabilities.data];
    const best = probabilities
      .map((probability, number) => ({ label: this.labels ? this.labels[number] : String(number), probability }))
      .sort((one, other) => other.probability - one.probability)
      .slice(0, 5);
    return { best, exit: found.exit ? Number(found.exit.data[0]) : null, milliseconds };
  }
}
