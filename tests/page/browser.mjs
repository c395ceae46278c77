// Chromium, and watching everything that a page must not do.

import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

const USUAL = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export function launch() {
  const executablePath = process.env.TILLFLOW_TEST_CHROMIUM || USUAL.find((path) => existsSync(path));
  if (!executablePath) throw new Error("no Chromium: set TILLFLOW_TEST_CHROMIUM to its path");
  const args = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ];
  return chromium.launch({ executablePath, args, timeout: 30_000 });
}

/** What went wrong in the pages of a context: none of it may happen. */
export class Misdeeds {
  console = [];
  policy = [];
  foreign = [];
  dialogs = [];
  /** Errors of the console that the test itself has brought about. */
  expected = null;
}

/** A context whose pages are watched. `origin` may be set later, before the first page is opened. */
export async function watched(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  // A busy machine is slow, and that is not what is tested.
  context.setDefaultTimeout(20_000);
  const misdeeds = new Misdeeds();
  context.origin = origin;
  context.misdeeds = misdeeds;
  // The browser tells of a violation in the console as well; this also tells what was blocked.
  await context.exposeBinding("tellOfPolicy", (_, text) => misdeeds.policy.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.tellOfPolicy(`${event.violatedDirective} blocked ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${context.origin}/`) && !url.startsWith("data:")) misdeeds.foreign.push(url);
  });
  context.on("page", (page) => {
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      const text = `${message.text()} (${message.location().url})`;
      if (!misdeeds.expected?.test(text)) misdeeds.console.push(text);
    });
    page.on("pageerror", (error) => misdeeds.console.push(`uncaught: ${error.stack ?? error.message}`));
    page.on("dialog", (dialog) => {
      misdeeds.dialogs.push(dialog.message());
      dialog.dismiss().catch(() => {});
    });
  });
  return context;
}

export function judge(report, name, context) {
  const { console: said, policy, foreign, dialogs } = context.misdeeds;
  report.none(`${name}: no error in the console`, said);
  report.none(`${name}: nothing violates the content security policy`, policy);
  report.none(`${name}: no request to anywhere but the page's own origin`, foreign);
  report.none(`${name}: no dialog`, dialogs);
}

export const PAGES = [
  ["/", "Overview"], ["/sales", "Sales"], ["/activity", "Activity"], ["/inventory", "Inventory"],
  ["/alerts", "Alerts"], ["/quality", "Quality"], ["/history", "History"], ["/pipeline", "Pipeline"],
];

/** Whether a figure has marks of data in it, not only axes. Runs in the page. */
export function drawnFigures() {
  return [...document.querySelectorAll("figure[id]")].filter((figure) => {
    const chart = [...figure.querySelectorAll("svg.plot")].find((svg) => svg.getBoundingClientRect().width > 50);
    const marks = chart ? [...chart.querySelectorAll(".line, .area, .band, .bar")] : [];
    return marks.some((mark) => mark.getBoundingClientRect().width > 0 && mark.getBoundingClientRect().height > 0);
  }).map((figure) => figure.id.replace(/^figure-/, ""));
}

/** JSON of the API, and the epoch that its header names. */
export async function api(origin, path, millis = 15_000) {
  const response = await fetch(`${origin}/api/v1/${path}`, { signal: AbortSignal.timeout(millis) });
  const text = await response.text();
  return {
    status: response.status,
    epoch: Number(response.headers.get("x-tillflow-epoch")),
    body: response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text,
  };
}
