// What the SQLite file says, read by another program (store.py), in the form that the API gives.

import { createInterface } from "node:readline";
import { join } from "node:path";

import { Program, root } from "./program.mjs";
import { until, within } from "./report.mjs";

const python = process.env.TILLFLOW_TEST_PYTHON || "python3";
const script = join(root, "tests", "page", "store.py");

const TIMES = new Set(["timestamp", "window_end", "as_of", "last_updated", "opened_at", "resolved_at", "committed_at"]);

/** A document as the API should give it: times in RFC 3339, truth values as such. */
export function asApi(document) {
  const fields = {};
  for (const [name, value] of Object.entries(document)) {
    if (TIMES.has(name) && typeof value === "number") fields[name] = new Date(value).toISOString();
    else fields[name] = name === "final" ? value !== 0 : value;
  }
  return fields;
}

/** The fields that only a metric of that name has. */
export function metricFields(document) {
  const { _id, type, name, timestamp, epoch, as_of, ...own } = asApi(document);
  return own;
}

/** Follows the file, and keeps what each epoch said. */
export class StoreWatch {
  #epochs = new Map();

  constructor(file) {
    this.program = Program.start(python, [script, file, "watch"], { input: "pipe" });
    createInterface({ input: this.program.child.stdout }).on("line", (line) => {
      const found = JSON.parse(line);
      this.#epochs.set(found.epoch, found);
    });
  }

  get seen() {
    return this.#epochs.size;
  }

  /** That epoch, if it was seen: a commit may follow another too soon. */
  epoch(number, millis = 500) {
    return until(millis, () => this.#epochs.get(number), 20);
  }

  async stop() {
    this.program.child.stdin.end();
    await within(5_000, "ending store.py", this.program.ended);
  }
}

/** Every document of the views, by collection. */
export async function dump(file) {
  const program = Program.start(python, [script, file, "dump"]);
  const collections = { aggregated_data: [], real_time_metrics: [], pipeline_state: [] };
  for await (const line of createInterface({ input: program.child.stdout })) {
    const { collection, document } = JSON.parse(line);
    collections[collection].push(document);
  }
  const { code } = await within(5_000, "ending store.py", program.ended);
  if (code !== 0) throw new Error(`store.py ended with ${code}: ${program.said}`);
  return collections;
}

/** Text that is equal for equal values, whatever the order of their fields. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
  }
  return JSON.stringify(value);
}
