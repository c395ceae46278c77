// The overview of a running demo: there at once, refreshing by itself, and right at every refresh.

import { api, drawnFigures } from "./browser.mjs";
import { count, money, moneyExact, moneyShort, sum } from "./numbers.mjs";
import { sleep, until } from "./report.mjs";
import { canonical, metricFields } from "./store.mjs";

const HOUR = 3_600_000;
const WATCHED_FOR = 15_000;
const REFRESHES = 10;

/** The charts that the overview has at least. */
const OVERVIEW_FIGURES = ["revenue", "revenue-by-category", "top-products", "activity-by-type", "stock-levels"];

/** Opens the overview of a program that was just started; the first chart must be there within 2 s of the start. */
export async function openAtOnce(report, context, program) {
  const origin = await program.address();
  context.origin = origin;
  const page = await context.newPage();
  const opened = page.goto(`${origin}/`, { waitUntil: "commit" });
  const served = until(15_000, async () => {
    const response = await fetch(`${origin}/`, { signal: AbortSignal.timeout(6_000) }).catch(() => null);
    const html = response?.ok ? await response.text() : "";
    const svg = /<figure id="figure-revenue"[\s\S]*?<svg[\s\S]*?<\/svg>/.exec(html)?.[0] ?? "";
    // A line of at least two points.
    return /<path class="line[^>]* d="M[^"]*L/.test(svg) && program.age();
  }, 20);
  const seen = opened
    .then(() => page.waitForFunction(drawnRevenue, undefined, { timeout: 15_000, polling: 50 }))
    .then(() => program.age(), () => undefined);
  const [inHtml, inBrowser] = await Promise.all([served, seen]);
  const told = (millis) => (millis ? `after ${(millis / 1000).toFixed(2)} s` : "not within 15 s");
  report.check(`a chart with data is served within 2 s of the start (${told(inHtml)})`, inHtml <= 2_000);
  report.check(`the browser shows it within 3 s of the start (${told(inBrowser)})`, inBrowser <= 3_000);
  return page;
}

function drawnRevenue() {
  const line = document.querySelector("#figure-revenue svg .line");
  return line && line.getBoundingClientRect().width > 20;
}

/** Everything that the overview has to have. */
export async function overview(report, page) {
  // The past is read in a few epochs; then every chart has something to show.
  const { origin } = page.context();
  const present = await until(30_000, async () => Date.parse((await api(origin, "progress")).body.as_of) > Date.now() - 60_000, 200);
  report.check("overview: the past is read and the present has begun within 30 s", present);
  await until(6_000, async () => (await page.evaluate(drawnFigures)).length >= 6, 250);
  const drawn = await page.evaluate(drawnFigures);
  for (const name of OVERVIEW_FIGURES) report.check(`overview: the chart ${name} is drawn`, drawn.includes(name), drawn);
  const found = await page.evaluate(() => ({
    status: document.querySelector(".status").innerText,
    sticky: getComputedStyle(document.querySelector(".status")).position,
    tiles: [...document.querySelectorAll(".tile")].map((tile) => ({
      label: tile.querySelector("h3").innerText, value: tile.querySelector(".value").innerText, leads: !!tile.querySelector("a[href]"),
    })),
    alerts: document.querySelector('[data-panel="open-alerts"]').innerText,
    demo: document.querySelector(".demo")?.innerText,
  }));
  report.check("overview: the freshness line tells the state and how far the data go",
    /LIVE|CATCHING UP/.test(found.status) && /data through \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/.test(found.status)
      && /epoch \d+/.test(found.status), found.status);
  report.equal("overview: the freshness line never scrolls away", found.sticky, "sticky");
  report.check("overview: the data are said to be made up", /DEMO/.test(found.demo ?? ""), found.demo);
  const labels = found.tiles.map((tile) => tile.label).join(", ");
  report.check("overview: six KPI tiles lead to their pages, each with a value",
    found.tiles.length === 6 && found.tiles.every((tile) => tile.leads && /\d/.test(tile.value)), JSON.stringify(found.tiles));
  for (const name of ["Revenue, last hour", "Transactions, last hour", "Open alerts"]) {
    report.check(`overview: a tile tells ${name}`, labels.includes(name), labels);
  }
  report.check("overview: open alerts are a table, or there are none", /Severity[\s\S]*(critical|warning|info)|None open/.test(found.alerts), found.alerts);
}

/** Runs in the page: remembers whatever is empty or gone at any moment, and tells of each epoch that is shown. */
function keepWatch() {
  const names = () => [...document.querySelectorAll("#main [data-panel]")].map((panel) => panel.dataset.panel);
  const watch = { expected: names().filter((name) => !name.startsWith("notice")), wrong: [], frames: 0, mutations: 0 };
  window.watchOfTest = watch;
  const marks = (panel) => {
    const charts = [...panel.querySelectorAll(".chart svg.plot")];
    return charts.length > 0 && charts.every((chart) => chart.querySelector(".line, .area, .band, .bar"));
  };
  const hadMarks = new Set();
  const look = (when, text) => {
    if (!document.getElementById("main")) watch.wrong.push(`${when}: no main part`);
    for (const name of watch.expected) {
      const panel = document.querySelector(`#main [data-panel="${name}"]`);
      if (!panel) watch.wrong.push(`${when}: ${name} is gone`);
      else if (!text(panel).trim()) watch.wrong.push(`${when}: ${name} is empty`);
      else if (marks(panel)) hadMarks.add(name);
      else if (hadMarks.has(name)) watch.wrong.push(`${when}: the chart of ${name} is empty`);
    }
  };
  const figures = () => Object.fromEntries([...document.querySelectorAll("figure[id]")].map((figure) => [
    figure.id.replace(/^figure-/, ""),
    [...figure.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.title || cell.textContent)),
  ]));
  const shown = () => ({
    epoch: Number(document.getElementById("main").dataset.epoch),
    tiles: Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) => [tile.querySelector("h3").textContent.trim(), {
      value: tile.querySelector(".value").textContent.trim(), note: tile.querySelector(".note").textContent.trim(), title: tile.title,
    }])),
    figures: figures(),
    alerts: document.querySelectorAll('[data-panel="open-alerts"] tbody tr').length,
    badge: document.getElementById("alert-count").textContent.trim(),
    status: [...document.querySelectorAll(".status p, .status li")].map((part) => part.textContent.trim()).join("; "),
    foot: document.querySelector(".bottom").textContent,
  });
  let last = -1;
  const tell = () => {
    const epoch = Number(document.getElementById("main")?.dataset.epoch);
    if (epoch === last) return;
    last = epoch;
    window.tellOfEpoch(shown());
  };
  new MutationObserver(() => { watch.mutations += 1; look("mutation", (panel) => panel.textContent); })
    .observe(document.body, { subtree: true, childList: true, characterData: true });
  const frame = () => {
    watch.frames += 1;
    look("frame", (panel) => panel.innerText);
    tell();
    requestAnimationFrame(frame);
  };
  frame();
}

/** Watches the page refresh by itself; each epoch that it shows is held against the API and the store. */
export async function refreshes(report, page, store) {
  const { origin } = page.context();
  const navigations = [];
  page.on("framenavigated", (frame) => navigations.push(frame.url()));
  const epochs = [];
  await page.exposeBinding("tellOfEpoch", (_, shown) => { epochs.push(asked(origin, shown).catch((error) => ({ shown, gone: true, wrong: [], error: error.message }))); });
  await page.evaluate(keepWatch);
  // At most one refresh a second: 10 take a little longer where the machine is busy.
  await sleep(WATCHED_FOR);
  await until(10_000, () => epochs.length > REFRESHES, 200);
  const seen = await Promise.all([...epochs]);
  const watch = await page.evaluate(() => window.watchOfTest);

  report.check(`refresh: the page shows ${REFRESHES} epochs by itself`, seen.length > REFRESHES, `${seen.length} in ${WATCHED_FOR / 1000} s`);
  report.check("refresh: epochs only go forward", seen.every(({ shown }, i) => i === 0 || shown.epoch > seen[i - 1].shown.epoch),
    seen.map(({ shown }) => shown.epoch).join());
  report.none("refresh: the page is never loaded anew", navigations);
  report.check("refresh: the watch saw frames and changes", watch.frames > 50 && watch.mutations >= REFRESHES, JSON.stringify(watch));
  report.none("refresh: no panel is ever empty or gone", [...new Set(watch.wrong)]);

  const kept = seen.filter(({ gone }) => !gone);
  report.check("refresh: the API still holds the epoch that the page shows", kept.length >= REFRESHES, seen.map(({ gone, error }) => error ?? gone).join());
  report.none("refresh: every answer of the API carries the epoch that was asked for", kept.flatMap(({ wrong }) => wrong));
  const whole = kept.filter(({ wrong }) => wrong.length === 0);
  const disagree = whole.flatMap((one) => agreement(one).map((text) => `epoch ${one.shown.epoch}: ${text}`));
  report.none(`refresh: all numbers of an epoch agree with each other, ${whole.length} epochs`, disagree);
  const misread = whole.flatMap((one) => asShown(one).map((text) => `epoch ${one.shown.epoch}: ${text}`));
  report.none(`refresh: tiles, tables of charts and badge show the API's numbers, ${whole.length} epochs`, misread);

  let compared = 0;
  const differ = [];
  for (const { shown, metrics, progress, alerts } of whole) {
    const stored = await store.epoch(shown.epoch);
    if (!stored) continue;
    compared += 1;
    const wanted = Object.fromEntries(Object.entries(stored.metrics).map(([name, fields]) => [name, metricFields(fields)]));
    const expect = (what, found, expected) => {
      if (canonical(found) !== canonical(expected)) differ.push(`epoch ${shown.epoch}, ${what}: ${canonical(found)}, stored ${canonical(expected)}`);
    };
    expect("metrics", metrics.metrics, wanted);
    expect("offsets", progress.offsets, stored.progress.offsets);
    expect("as_of", metrics.as_of, new Date(stored.progress.as_of).toISOString());
    expect("committed_at", progress.committed_at, new Date(stored.progress.committed_at).toISOString());
    expect("open alerts", bySeverity(alerts), stored.alerts);
  }
  report.check(`refresh: the store was seen at the same epochs, ${compared} of ${whole.length}`, compared >= 5, `${store.seen} epochs seen`);
  report.none("refresh: the API gives the documents of the store at that epoch", differ);
}

function bySeverity(alerts) {
  const numbers = {};
  for (const { severity } of alerts.rows) numbers[severity] = (numbers[severity] ?? 0) + 1;
  return numbers;
}

/** All that the API says of the epoch that a page shows. */
async function asked(origin, shown) {
  const wrong = [];
  let gone = false;
  const ask = async (path) => {
    const answer = await api(origin, `${path}${path.includes("?") ? "&" : "?"}epoch=${shown.epoch}`);
    if (answer.status === 410) gone = true;
    else if (answer.status !== 200) wrong.push(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    else if (answer.epoch !== shown.epoch || answer.body.epoch !== shown.epoch) wrong.push(`${path}: epoch ${answer.epoch}`);
    return answer.body;
  };
  const metrics = await ask("metrics");
  if (gone) return { shown, gone, wrong };
  const asOf = Date.parse(metrics.as_of);
  const ending = (length, windows) => {
    const last = Math.floor(asOf / length) * length;
    return `from=${last - (windows - 1) * length}&to=${last + length}`;
  };
  const minute = `granularity=minute&${ending(60_000, 60)}`;
  const hour = `granularity=hour&${ending(HOUR, 24)}`;
  const now = `granularity=hour&${ending(HOUR, 1)}`;
  // A few at a time, as a browser would.
  const [progress, alerts, stock, users] =
    await Promise.all(["progress", "alerts?state=open", "views/stock", `views/active_users?${now}`].map(ask));
  const [perMinute, categoryMinute, activityMinute, perHour] = await Promise.all([
    `views/sales_total?${minute}`, `views/sales_by_category?${minute}`, `views/activity_by_type?${minute}`, `views/sales_total?${hour}`,
  ].map(ask));
  const [categoryHour, storeHour, paymentHour] = await Promise.all([
    `views/sales_by_category?${hour}`, `views/sales_by_store?${hour}`, `views/sales_by_payment_method?${hour}`,
  ].map(ask));
  const views = { perMinute, categoryMinute, activityMinute, perHour, categoryHour, storeHour, paymentHour, users };
  return { shown, gone, wrong, metrics, progress, alerts, stock, views };
}

const revenue = (rows) => sum(rows.map((row) => money(row.revenue)));
const total = (rows, field) => rows.reduce((number, row) => number + row[field], 0);
const average = (amount, transactions) => {
  const number = BigInt(transactions);
  const [quotient, twice] = [amount / number, (amount % number) * 2n];
  return twice > number || (twice === number && quotient % 2n === 1n) ? quotient + 1n : quotient;
};

/** How the numbers of one epoch contradict each other. */
function agreement({ metrics: { metrics }, progress, alerts, stock, views }) {
  const wrong = [];
  const equal = (what, found, expected) => {
    if (found !== expected) wrong.push(`${what}: ${found} is not ${expected}`);
  };
  const parts = (what, { rows }, whole) => {
    equal(`transactions of ${what}`, total(rows, "transactions"), whole.transactions);
    equal(`units of ${what}`, total(rows, "units"), whole.units);
    equal(`revenue of ${what}`, revenue(rows), money(whole.revenue));
  };
  parts("the minutes of the last hour", views.perMinute, metrics.sales_last_hour);
  parts("its categories", views.categoryMinute, metrics.sales_last_hour);
  parts("the hours of the last day", views.perHour, metrics.sales_last_24h);
  parts("its categories", views.categoryHour, metrics.sales_last_24h);
  parts("its stores", views.storeHour, metrics.sales_last_24h);
  parts("its payment methods", views.paymentHour, metrics.sales_last_24h);
  for (const name of ["sales_all", "sales_last_hour", "sales_last_24h"]) {
    const { transactions, revenue: amount, average_order_value: given } = metrics[name];
    if (transactions > 0) equal(`average of ${name}`, money(given), average(money(amount), transactions));
  }
  // Each record that was read has exactly one outcome. The topics of a demo begin at 0.
  const read = Object.values(progress.offsets).flatMap((partitions) => Object.values(partitions)).reduce((a, b) => a + b, 0);
  const { outcomes, reasons } = metrics.data_quality;
  const numbers = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  equal("outcomes of all records", numbers(outcomes), read);
  equal("reasons of all dead letters", numbers(reasons), (outcomes.rejected ?? 0) + (outcomes.late ?? 0) + (outcomes.quarantined ?? 0));
  const inventory = metrics.inventory_summary;
  const out = stock.rows.filter((row) => row.current_stock <= 0).length;
  const low = stock.rows.filter((row) => row.current_stock > 0 && row.current_stock <= row.reorder_level).length;
  equal("stock rows", stock.rows.length, inventory.rows);
  equal("products in stock rows", new Set(stock.rows.map((row) => row.product_id)).size, inventory.products);
  equal("units in stock", total(stock.rows, "current_stock"), inventory.units);
  equal("rows out of stock", out, inventory.out_of_stock);
  equal("rows that are low", low, inventory.low_stock);
  equal("open alerts of no stock", alerts.rows.filter((row) => row.kind === "out_of_stock").length, out);
  equal("open alerts of low stock", alerts.rows.filter((row) => row.kind === "low_stock").length, low);
  return wrong;
}

/** How the page contradicts the API. */
function asShown({ shown, metrics: { metrics }, alerts, views }) {
  const wrong = [];
  const equal = (what, found, expected) => {
    if (found !== expected) wrong.push(`${what}: ${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);
  };
  const { sales_last_hour: hour, sales_last_24h: day } = metrics;
  const tile = (name) => shown.tiles[name] ?? { value: "no such tile", note: "", title: "" };
  const amount = (name, text) => {
    equal(name, tile(name).value, moneyShort(money(text)));
    equal(`${name} in full`, tile(name).title.split(":")[0], moneyExact(money(text)));
  };
  amount("Revenue, last hour", hour.revenue);
  amount("Average order, last hour", hour.average_order_value);
  amount("Revenue, last 24 h", day.revenue);
  equal("Transactions, last hour", tile("Transactions, last hour").value, count(hour.transactions));
  equal("transactions of the last 24 h", tile("Revenue, last 24 h").note, `${count(day.transactions)} transactions`);
  equal("Open alerts", tile("Open alerts").value, count(alerts.rows.length));
  equal("the badge of alerts", shown.badge, count(alerts.rows.length));
  equal("rows of open alerts", shown.alerts, Math.min(7, alerts.rows.length));
  const users = Object.keys(shown.tiles).find((name) => name.startsWith("Active users"));
  const active = metrics.activity_last_hour?.users ?? views.users.rows[0]?.users;
  // In the first moments of an hour nobody has been active yet.
  if (active !== undefined) {
    equal("active users", tile(users).value, count(active));
    equal("events of the last hour", tile(users).note, `${count(total(views.activityMinute.rows, "events"))} events in the last hour`);
  }
  const letters = Object.values(metrics.data_quality.reasons).reduce((a, b) => a + b, 0);
  equal("dead letters", /; ([\d,]+) dead letters?/.exec(shown.status)?.[1], count(letters));
  equal("the epoch of the freshness line", /; epoch (\d+)/.exec(shown.status)?.[1], String(shown.epoch));
  equal("the epoch at the foot", /epoch (\d+)/.exec(shown.foot)?.[1], String(shown.epoch));

  const top = metrics.top_products_last_hour.products.map((product) => `${product.product_id} ${moneyExact(money(product.revenue))}`);
  const table = (name) => shown.figures[name] ?? [];
  equal("chart of top products", table("top-products").map((row) => row.slice(0, 2).join(" ")).join(), top.join());
  const categories = new Map();
  for (const row of views.categoryMinute.rows) {
    categories.set(row.key.category, (categories.get(row.key.category) ?? 0n) + money(row.revenue));
  }
  const expected = [...categories].map(([name, value]) => `${name} ${moneyExact(value)}`).sort();
  equal("chart of categories", table("revenue-by-category").map((row) => row.slice(0, 2).join(" ")).sort().join(), expected.join());
  const minutes = new Map(views.perMinute.rows.map((row) => [row.timestamp.slice(11, 16), moneyExact(money(row.revenue))]));
  for (const [window, value] of table("revenue")) {
    const time = /(\d\d:\d\d)/.exec(window)?.[1];
    equal(`chart of revenue at ${window}`, value, minutes.get(time) ?? "$0.00");
  }
  equal("minutes of the chart of revenue", table("revenue").length, 60);
  return wrong;
}
