// Names from the stream that were made to break a page, a chart or a script.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PAGES, api, judge, watched } from "./browser.mjs";
import { Program, scratch, tillflow } from "./program.mjs";
import { sleep, until } from "./report.mjs";

export const LABELS = [
  "<script>alert(1)</script>",
  "\"><img src=x onerror=alert(2)>",
  "' onmouseover='alert(3)' x='",
  "</title></text></svg></script><script>alert(4)</script>",
  "<svg/onload=alert(5)>",
  "]]><![CDATA[<a href=\"javascript:alert(6)\">x</a>",
  "<!-- --><style>*{display:none}</style>",
  "&lt;b&gt;&amp;&#60;script&#62;",
  "{{7*7}}${7*7}<%= 7*7 %>",
  "\u202Egnp.exe", "\u2066\u2067nested\u2069", "zero\u200Bwidth", "\uFEFFbom",
  "nul\u0000inside", "\u0001\u0008\u000B\u001F\u007F\u0085", "\uFFFE\uFFFF\uFDD0",
  "two\nlines\tand\rmore",
  "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301", "שלום عليكم", "  ",
  "x".repeat(256), "😀".repeat(64),
  "a|b\\c|d", "__proto__", "constructor", "../../etc/passwd", "%s%n%00", "=1+1", "$where", "a.b", "NaN", "1e999",
];



/** An --envelope folder in which every name is one of the labels. */
function write(folder) {
  mkdirSync(folder);
  const now = Math.floor(Date.now() / 60_000) * 60_000;
  const lines = { sales: [], user_activity: [], inventory: [] };
  LABELS.forEach((label, i) => {
    const other = LABELS[(i * 7 + 3) % LABELS.length];
    for (let n = 0; n < 3; n++) {
      const at = now - 5_400_000 + (i * 3 + n) * 50_000;
      const timestamp = new Date(at).toISOString();
      const record = (topic, key, value) => lines[topic].push(JSON.stringify({ partition: 0, timestamp_ms: at, key, value }));
      record("sales", `${label}-${n}`, {
        transaction_id: `${i}-${n}`, user_id: label, product_id: label, quantity: 1, unit_price: "1.5000",
        total_amount: `${1000 - i}.5`, payment_method: label, timestamp, store_id: other, category: label,
      });
      record("user_activity", label, { user_id: label, activity_type: label, timestamp, session_id: other, product_id: other });
    }
    const timestamp = new Date(now - 60_000 + i).toISOString();
    lines.inventory.push(JSON.stringify({ partition: 0, timestamp_ms: now, key: label, value: {
      product_id: label, current_stock: (i % 3) * 10 - 5, reorder_level: 10, last_updated: timestamp,
      warehouse_id: other, category: label, status: label,
    } }));
    // And none of it is a record at all.
    lines.sales.push(JSON.stringify({ partition: 0, timestamp_ms: now, key_base64: Buffer.from(label).toString("base64"),
      value_base64: Buffer.concat([Buffer.from(`{"transaction_id": ${JSON.stringify(label)}, "`), Buffer.from([0xff, 0, 0x1b])]).toString("base64") }));
    lines.inventory.push(JSON.stringify({ partition: 1, timestamp_ms: now, key: label, value: { [label]: label } }));
  });
  for (const [topic, text] of Object.entries(lines)) writeFileSync(join(folder, `${topic}.ndjson`), `${text.join("\n")}\n`);
  return lines;
}

/** Parts of a page that no label may bring about. Runs in the page. */
function intruders() {
  const found = [];
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name)) found.push(`${element.tagName} ${name}=${value}`);
      const leads = ["href", "src", "xlink:href", "action", "formaction"].includes(name);
      if (leads && /^\s*(javascript|data|https?):/i.test(value)) found.push(`${element.tagName} ${name}=${value}`);
      if (name === "style" && !element.matches(".cursor, .tip, .tip *")) found.push(`${element.tagName} style=${value}`);
    }
  }
  for (const script of document.querySelectorAll("script")) if (!script.src.startsWith(`${location.origin}/assets/`)) found.push(script.outerHTML);
  const strangers = "style, iframe, object, embed, foreignObject, img:not(.brand img), base, use, a[target]";
  for (const element of document.querySelectorAll(strangers)) found.push(element.outerHTML.slice(0, 100));
  return found;
}

const TURNING = /[\u200B\u200E\u200F\u061C\u202A-\u202E\u2066-\u2069\uFEFF]/;
// What HTML and XML have no place for: as text it would be lost or break a chart.
const FORBIDDEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/;

export async function hostileLabels(report, browser) {
  const folder = join(scratch, "hostile");
  const lines = write(folder);
  const run = Program.start(tillflow, [
    "run", "--source", `ndjson:${folder}`, "--envelope", "--store", `sqlite:${join(scratch, "hostile.sqlite")}`,
    "--listen", "127.0.0.1:0", "--refresh-interval", "2",
  ]);
  const origin = await run.address();
  const context = await watched(browser, origin);
  const page = await context.newPage();
  const written = Object.values(lines).flat().length;
  const read = await until(15_000, async () => {
    const { body } = await api(origin, "metrics");
    const outcomes = Object.values(body.metrics?.data_quality?.outcomes ?? {}).reduce((a, b) => a + b, 0);
    return outcomes === written && body;
  }, 200);
  if (!report.check("hostile: every record is counted", read, () => `${run.end ? `ended with ${run.end.code}` : "still not all"}: ${run.said}`)) return;
  report.equal("hostile: what can be read is accepted", read.metrics.data_quality.outcomes.accepted, LABELS.length * 7);
  report.equal("hostile: the rest is rejected", read.metrics.data_quality.outcomes.rejected, LABELS.length * 2);

  const addresses = PAGES.map(([path]) => path);
  for (const type of ["sales_by_category", "sales_by_store", "sales_by_payment_method", "sales_by_product", "activity_by_type"]) {
    addresses.push(`/history?type=${type}&granularity=hour&range=24h`);
  }
  const wrong = [];
  for (const path of addresses) {
    await page.goto(`${origin}${path}`);
    for (const part of await page.evaluate(intruders)) wrong.push(`${path}: ${part}`);
    const html = await page.content();
    for (const pattern of [TURNING, FORBIDDEN]) if (pattern.test(html)) wrong.push(`${path}: has ${JSON.stringify(pattern.exec(html)[0])}`);
    const hidden = await page.evaluate(() => [...document.querySelectorAll("#main, .panel")].filter((part) => part.getBoundingClientRect().height < 10).length);
    if (hidden) wrong.push(`${path}: ${hidden} parts cannot be seen`);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    if (sideways) wrong.push(`${path}: scrolls sideways`);
  }
  report.none(`hostile: ${addresses.length} pages have nothing in them that a label brought`, wrong);
  await page.goto(`${origin}/inventory`);
  const cells = await page.locator('[data-panel="stock"] tbody td:nth-child(2)').allTextContents();
  for (const label of [LABELS[0], LABELS[1], "nul\uFFFDinside", "gnp.exe", "two lines and more", "(blank)", "__proto__", "שלום عليكم"]) {
    report.check(`hostile: the page shows ${JSON.stringify(label)} as text`, cells.includes(label), cells.join(" , "));
  }
  await charts(report, page, origin);
  await addressesWithMarkup(report, page, origin);
  await programs(report, origin);
  await untouched(report, browser, origin);
  judge(report, "hostile", context);
  await context.close();
  const { code, took } = await run.stop();
  report.check("hostile: SIGTERM ends the run with 0 within 10 s", code === 0 && took < 10_000, `${code}: ${run.said}`);
}

/** Each chart as a file: XML, and nothing in it but shapes and text. */
async function charts(report, page, origin) {
  await page.goto(`${origin}/`);
  const names = [
    "revenue", "transactions", "average-order-value", "revenue-by-category", "category-trend", "revenue-by-store",
    "revenue-by-payment-method", "activity-by-type", "active-users", "top-products", "stock-levels", "outcomes", "dead-letter-reasons",
  ];
  const paths = names.flatMap((name) => [`/charts/${name}.svg`, `/charts/${name}.svg?granularity=hour&theme=dark`]);
  for (const type of ["sales_by_category", "sales_by_product", "activity_by_type"]) paths.push(`/charts/history.svg?type=${type}&granularity=hour`);
  const wrong = await page.evaluate(async (all) => {
    const found = [];
    for (const path of all) {
      const response = await fetch(path);
      const text = await response.text();
      const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      const type = response.headers.get("Content-Type");
      if (response.status !== 200 || !type.startsWith("image/svg+xml")) found.push(`${path}: ${response.status} ${type}`);
      else if (root.localName !== "svg" || root.querySelector("parsererror")) found.push(`${path}: not well-formed: ${root.textContent.slice(0, 200)}`);
      else {
        for (const element of root.querySelectorAll("*")) {
          const tag = element.localName;
          if (!["title", "desc", "g", "path", "rect", "circle", "line", "text", "tspan", "polyline", "polygon"].includes(tag)) found.push(`${path}: <${tag}>`);
          for (const { name, value } of element.attributes) {
            if (/^(on|style|href|xlink)/i.test(name) || /NaN|inf|javascript/i.test(value)) found.push(`${path}: ${tag} ${name}=${value}`);
          }
        }
        const size = root.viewBox.baseVal;
        if (!(size.width > 0 && size.height > 0)) found.push(`${path}: no size`);
      }
      if (/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF\u202A-\u202E\u2066-\u2069]/.test(text)) {
        found.push(`${path}: a character that must not be there`);
      }
    }
    return found;
  }, paths);
  report.none(`hostile: ${paths.length} charts are well-formed and hold shapes and text alone`, wrong);
  // For a file without a page around it, the browser looks for the site's icon.
  page.context().misdeeds.expected = /favicon\.ico/;
  await page.goto(`${origin}/charts/revenue-by-category.svg`);
  const opened = await page.evaluate(() => document.documentElement.localName);
  report.equal("hostile: a chart opens as a page of its own", opened, "svg");
}

/** Markup in addresses. */
async function addressesWithMarkup(report, page, origin) {
  const wrong = [];
  const hostile = encodeURIComponent("\"><script>alert(9)</script><img src=x onerror=alert(9)>");
  // The browser tells of each 400 and 404.
  page.context().misdeeds.expected = /status of 4\d\d|favicon\.ico/;
  for (const path of [
    `/history?type=${hostile}&range=${hostile}&granularity=${hostile}&from=${hostile}&to=${hostile}`,
    `/history?type=sales_by_category&key=${hostile}`, `/?epoch=${hostile}`, `/${hostile}`, `/sales/${hostile}`,
    `/api/v1/views/${hostile}`, `/api/v1/views/sales_total?granularity=${hostile}`, `/charts/${hostile}.svg`, `/charts/revenue.svg?theme=${hostile}`,
  ]) {
    const response = await page.goto(`${origin}${path}`);
    if (response.status() >= 500) wrong.push(`${path}: ${response.status()}`);
    for (const part of await page.evaluate(intruders)) wrong.push(`${path}: ${part}`);
  }
  report.none("hostile: markup in an address stays text", wrong);

  // A label is a key like any other.
  for (const label of [LABELS[0], "a|b\\c|d", "nul\u0000inside", "  "]) {
    await page.goto(`${origin}/history?type=sales_by_category&granularity=hour&range=24h&key=${encodeURIComponent(label)}`);
    const heading = await page.locator('[data-panel="rows"] h2').innerText();
    report.check(`hostile: /history finds the rows of the key ${JSON.stringify(label)}`, Number.parseInt(heading, 10) > 0, heading);
  }
}

/** What programs get is the label itself. */
async function programs(report, origin) {
  const { body } = await api(origin, "views/sales_by_category?granularity=day");
  const given = new Map();
  for (const row of body.rows) given.set(row.key.category, (given.get(row.key.category) ?? 0) + row.transactions);
  report.none("hostile: the API gives every label as it was sent", LABELS.filter((label) => given.get(label) !== 3).map((label) => JSON.stringify(label)));
  const csv = (await api(origin, "views/sales_by_category?granularity=day&format=csv")).body;
  const rows = parseCsv(csv);
  const column = rows[0].indexOf("category");
  const texts = rows.slice(1).map((row) => row[column]);
  report.check("hostile: CSV has as many rows as JSON, and each as many cells as the header",
    rows.length - 1 === body.rows.length && rows.every((row) => row.length === rows[0].length), `${rows.length} lines`);
  report.none("hostile: no cell of CSV begins like a formula", texts.filter((text) => /^[=+\-@]/.test(text)));
  report.check("hostile: CSV has the labels", [LABELS[0], LABELS[1], "'=1+1"].every((label) => texts.includes(label)), texts.join());
}

/** RFC 4180. */
function parseCsv(text) {
  const rows = [[]];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/y;
  while (cell.lastIndex < text.length) {
    const found = cell.exec(text);
    if (!found) throw new Error("this is no CSV");
    rows.at(-1).push(found[1] === undefined ? found[2] : found[1].replaceAll("\"\"", "\""));
    if (found[3] === "\r\n" && cell.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

/** A page that nobody touches and that has no script loads itself anew at its interval. */
async function untouched(report, browser, origin) {
  const context = await watched(browser, origin, { javaScriptEnabled: false });
  const page = await context.newPage();
  let loads = 0;
  page.on("request", (request) => { if (new URL(request.url()).pathname === "/") loads += 1; });
  await page.goto(`${origin}/`);
  await sleep(5_000);
  report.check("without script: the page loads itself anew at --refresh-interval 2", loads >= 3, `${loads} times in 5 s`);
  await context.close();
}
