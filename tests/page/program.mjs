// Starting tillflow and other programs, and ending every one of them whatever happens.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { until, within } from "./report.mjs";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const tillflow = join(resolve(root, process.env.CARGO_TARGET_DIR ?? "target"), "release", "tillflow");

/** A folder that goes with the test. */
export const scratch = mkdtempSync(join(tmpdir(), "tillflow-page-"));

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
});

// What a user's own settings would change.
const OURS = /^(TILLFLOW_|KAFKA_|MONGO_|DASHBOARD_)/;

export class Program {
  static start(command, args, { env = {}, input = "ignore" } = {}) {
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
    // In a folder of its own: no `.env` of the user's is read.
    return new Program(spawn(command, args, { cwd: scratch, env: { ...inherited, ...env }, stdio: [input, "pipe", "pipe"] }));
  }

  constructor(child) {
    this.child = child;
    this.startedAt = performance.now();
    this.said = "";
    running.add(child);
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text) => { this.said = (this.said + text).slice(-20_000); });
    this.ended = new Promise((done) => {
      child.on("error", (error) => { this.said += `\n${error.message}`; done({ code: null, signal: null }); });
      child.on("close", (code, signal) => done({ code, signal }));
    }).then((end) => { running.delete(child); this.end = end; return end; });
  }

  /** Milliseconds since the start. */
  age() {
    return performance.now() - this.startedAt;
  }

  /** Where its pages are. */
  async address(millis = 20_000) {
    const found = await until(millis, () => this.end ?? /dashboard: (http:\/\/\S+?)\/?\s/.exec(this.said)?.[1], 2);
    if (typeof found !== "string") throw new Error(`no dashboard within ${millis} ms; it said: ${this.said}`);
    return found;
  }

  /** Asks it to stop: its exit code, and how long that took. */
  async stop(millis = 12_000) {
    const at = performance.now();
    this.child.kill("SIGTERM");
    const end = await within(millis, "stopping", this.ended);
    return { code: end.code, took: performance.now() - at };
  }

  kill() {
    this.child.kill("SIGKILL");
  }
}
