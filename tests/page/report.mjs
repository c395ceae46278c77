// Counting checks, and waiting with an end.

export class Report {
  passed = 0;
  failed = 0;
  #started = Date.now();

  /** One check, one line; `detail` says what was found instead. */
  check(name, holds, detail = "") {
    const text = typeof detail === "function" ? detail() : detail;
    if (holds) {
      this.passed += 1;
      console.log(`ok    ${name}`);
    } else {
      this.failed += 1;
      console.log(`FAIL  ${name}${text === "" ? "" : `: ${shortened(text)}`}`);
    }
    return holds;
  }

  /** A list of what is wrong must be empty. */
  none(name, wrong) {
    return this.check(name, wrong.length === 0, () => `${wrong.length}: ${wrong.slice(0, 6).join(" | ")}`);
  }

  equal(name, found, expected) {
    return this.check(name, found === expected, () => `found ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
  }

  /** Checks that belong together. What breaks them off is a failure, and the others go on. */
  async section(name, work) {
    const at = Date.now();
    try {
      await work();
    } catch (error) {
      this.check(name, false, `broke off: ${error?.stack ?? error}`);
    }
    console.log(`      (${name}: ${((Date.now() - at) / 1000).toFixed(1)} s)`);
  }

  end() {
    const seconds = ((Date.now() - this.#started) / 1000).toFixed(0);
    console.log(`page test: ${this.passed} passed, ${this.failed} failed, in ${seconds} s`);
    return this.failed === 0 && this.passed > 0;
  }
}

function shortened(text) {
  const whole = String(text);
  return whole.length > 1500 ? `${whole.slice(0, 1500)} …` : whole;
}

export const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

/** What `look` gives as soon as it is neither false nor absent; absent when `millis` have passed. */
export async function until(millis, look, pause = 50) {
  const end = Date.now() + millis;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() >= end) return undefined;
    await sleep(Math.min(pause, Math.max(1, end - Date.now())));
  }
}

/** The promise's value, or an error that says what was waited for. */
export async function within(millis, what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what} took longer than ${millis} ms`)), millis);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
