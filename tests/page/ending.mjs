// How a demo ends, what its page does then, and what it leaves.

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { api, drawnFigures, judge } from "./browser.mjs";
import { Program, scratch, tillflow } from "./program.mjs";
import { until, within } from "./report.mjs";
import { asApi, canonical, dump, metricFields } from "./store.mjs";

/** A demo whose folder nobody named takes it along. */
export async function temporaryFolder(report) {
  const folder = join(scratch, "temporary");
  mkdirSync(folder);
  const demo = Program.start(tillflow, ["demo", "--listen", "127.0.0.1:0"], { env: { TMPDIR: folder } });
  const origin = await demo.address();
  const started = await until(5_000, async () => (await api(origin, "progress")).body.epoch > 0);
  const during = readdirSync(folder).filter((name) => name.startsWith("tillflow-demo-"));
  const { code, took } = await demo.stop();
  report.check("demo: without --dir its store is in a temporary folder", started && during.length === 1, readdirSync(folder).join());
  report.check("demo: SIGTERM ends it with 0 within 10 s, before it has caught up too", code === 0 && took < 10_000, `${code} after ${took} ms: ${demo.said}`);
  report.none("demo: its temporary folder is gone then", readdirSync(folder));
}

/** Ends the demo under an open page; then the pages alone, on what it has left. */
export async function ending(report, page, demo, folder) {
  const context = page.context();
  const { origin } = context;
  const file = join(folder, "demo.sqlite");
  context.misdeeds.expected = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|net::ERR|status of 503/;
  await page.goto(`${origin}/`);
  await page.evaluate(() => { window.stillThere = true; });
  await page.waitForTimeout(1_500);
  const { code, took } = await demo.stop();
  report.check(`demo: SIGTERM ends it with 0 within 10 s, a page open (${(took / 1000).toFixed(2)} s)`, code === 0 && took < 10_000, `${code}: ${demo.said}`);
  report.check("demo: a folder that was named stays, with the store", existsSync(file));

  const said = await until(15_000, async () => {
    const text = await page.locator(".status").innerText();
    return /DISCONNECTED/.test(text) && text;
  });
  report.check("server gone: the page says so, and when it tries again", /retrying in \d+ s/.test(said ?? ""), await page.locator(".status").innerText());
  const empty = await page.evaluate(() => [...document.querySelectorAll("#main [data-panel]")].filter((panel) => !panel.innerText.trim()).length);
  report.check("server gone: all numbers and charts stay", empty === 0 && (await page.evaluate(drawnFigures)).length >= 6);
  await page.focus("#figure-revenue");
  await page.keyboard.press("End");
  const read = await page.locator("#figure-revenue .tip").count();
  await page.locator("#figure-revenue summary").click();
  const open = await page.locator("#figure-revenue tbody tr").first().isVisible();
  report.check("server gone: the page stays usable", read === 1 && open);

  const again = Program.start(tillflow, ["demo", "--listen", "127.0.0.1:0", "--dir", folder]);
  const refused = await within(5_000, "refusing", again.ended).catch(() => ({ code: "none" }));
  report.check("demo: another one in the same folder is refused with 4, in one line", refused.code === 4
    && again.said.trim().split("\n").filter((line) => /error/.test(line)).length === 1, `${refused.code}: ${again.said}`);

  const pages = Program.start(tillflow, ["dashboard", "--store", `sqlite:${file}`, "--listen", new URL(origin).host]);
  await pages.address();
  const back = await until(15_000, async () => !/DISCONNECTED/.test(await page.locator(".status").innerText()), 200);
  report.check("server back: the page finds it by itself, without being loaded anew", back && (await page.evaluate(() => window.stillThere)));
  await everyDocument(report, origin, file);
  judge(report, "end", context);
  const stopped = await pages.stop();
  report.check("dashboard: SIGTERM ends it with 0", stopped.code === 0 && stopped.took < 10_000, `${stopped.code}: ${pages.said}`);
}

const LIMIT = 10_000;

/** At rest, the API gives each document of the store, field by field. */
async function everyDocument(report, origin, file) {
  const stored = await dump(file);
  const views = new Map();
  const group = (name, document) => views.set(name, [...(views.get(name) ?? []), document]);
  for (const document of stored.aggregated_data) group(`${document.type}?granularity=${document.granularity}`, document);
  for (const document of stored.real_time_metrics) group(`${document.type}?`, document);
  const wrong = [];
  let compared = 0;
  for (const [name, documents] of views) {
    documents.sort((a, b) => a.timestamp - b.timestamp);
    for (const [from, to] of ranges(documents)) {
      const { status, body } = await api(origin, `views/${name}&from=${from}&to=${to}`);
      if (status !== 200 || body.truncated) {
        wrong.push(`${name}: ${status} ${JSON.stringify(body).slice(0, 200)}`);
        continue;
      }
      const given = new Map(body.rows.map((row) => [row._id, row]));
      for (const document of documents.filter(({ timestamp }) => timestamp >= from && timestamp < to)) {
        const found = canonical(given.get(document._id));
        const expected = canonical(asApi(document));
        if (found !== expected) wrong.push(`${name}: ${found}, stored ${expected}`);
        given.delete(document._id);
        compared += 1;
      }
      for (const id of given.keys()) wrong.push(`${name}: ${id} is not in the store`);
    }
  }
  report.check(`at rest: ${compared} documents of ${views.size} views were compared`, compared > 1_000 && views.size >= 20, [...views.keys()].join());
  report.none("at rest: the API gives every document of the store, field by field", wrong);
  const metrics = stored.real_time_metrics.filter(({ type }) => type === "metric");
  const [progress] = stored.pipeline_state.filter(({ _id }) => _id === "progress");
  const { body } = await api(origin, "metrics");
  report.equal("at rest: the metrics are those of the store", canonical(body), canonical({
    epoch: progress.epoch, as_of: new Date(progress.as_of).toISOString(),
    metrics: Object.fromEntries(metrics.map((metric) => [metric.name, metricFields(metric)])),
  }));
}

/** Ranges of time with no more documents each than an answer can have. */
function ranges(documents) {
  const found = [];
  let from = 0;
  while (from < documents.length) {
    let to = Math.min(documents.length, from + LIMIT);
    if (to < documents.length) while (to > from && documents[to].timestamp === documents[to - 1].timestamp) to -= 1;
    const end = to < documents.length ? documents[to].timestamp : documents[to - 1].timestamp + 1;
    found.push([documents[from].timestamp, end]);
    from = to;
  }
  return found;
}
