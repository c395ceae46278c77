// The page test: a real browser on the pages of a running demo, and on labels made to break them.
//
//   node tests/page/run.mjs        after `cargo build --release` and `npm ci` in tests/page
//
// TILLFLOW_TEST_CHROMIUM: the browser. TILLFLOW_TEST_PYTHON: a Python with sqlite3. CARGO_TARGET_DIR: as for cargo.

import { existsSync } from "node:fs";
import { join } from "node:path";

import { judge, launch, watched } from "./browser.mjs";
import { ending, temporaryFolder } from "./ending.mjs";
import { hostileLabels } from "./hostile.mjs";
import * as live from "./live.mjs";
import * as pages from "./pages.mjs";
import { Program, scratch, tillflow } from "./program.mjs";
import { Report } from "./report.mjs";
import { StoreWatch } from "./store.mjs";

// An idle machine of two cores takes a minute.
const LIMIT = 240_000;

const report = new Report();
const timer = setTimeout(() => {
  report.check(`everything within ${LIMIT / 1000} s`, false, "still running");
  report.end();
  process.exit(1);
}, LIMIT);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
process.on("unhandledRejection", (error) => {
  report.check("nothing fails unseen", false, error?.stack ?? error);
});

async function main() {
  if (!existsSync(tillflow)) throw new Error(`${tillflow} is missing: cargo build --release`);
  const browser = await launch();
  const folder = join(scratch, "demo");
  const context = await watched(browser, "");
  const demo = Program.start(tillflow, ["demo", "--listen", "127.0.0.1:0", "--dir", folder, "--rate", "200"]);
  const file = join(folder, "demo.sqlite");
  let page;
  await report.section("start", async () => { page = await live.openAtOnce(report, context, demo); });
  const origin = await demo.address();
  const store = new StoreWatch(file);
  await report.section("overview", () => live.overview(report, page));
  // Watching a page refresh is mostly waiting; what goes on beside it has programs of its own.
  await Promise.all([
    report.section("refresh", () => live.refreshes(report, page, store)),
    report.section("hostile labels", () => hostileLabels(report, browser)),
  ]);
  await store.stop();
  const apart = report.section("temporary folder", () => temporaryFolder(report));
  await report.section("pages", () => pages.clickThrough(report, page));
  await report.section("history", () => pages.history(report, page));
  await report.section("pause and hidden tab", () => pages.rest(report, page));
  await report.section("keyboard", () => pages.keyboard(report, page));
  judge(report, "demo", context);
  await report.section("themes and accessibility", () => pages.themes(report, browser, origin));
  await report.section("narrow", () => pages.narrow(report, browser, origin));
  await report.section("without script", () => pages.withoutScript(report, browser, origin));
  await apart;
  await report.section("end", () => ending(report, page, demo, folder));
  await browser.close();
}

try {
  await main();
} catch (error) {
  report.check("the test itself", false, error.stack);
}
clearTimeout(timer);
process.exit(report.end() ? 0 : 1);
