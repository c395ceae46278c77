// All pages of a running demo: clicking, keys, themes, narrow screens, no script.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

import { PAGES, drawnFigures, judge, watched } from "./browser.mjs";
import { sleep, until } from "./report.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The fewest charts with data that a page has. */
const CHARTS = { "/": 6, "/sales": 7, "/activity": 3, "/inventory": 1, "/quality": 1, "/history": 1 };

/** Clicks through the pages, as a person does. */
export async function clickThrough(report, page) {
  for (const [path, title] of [...PAGES.slice(1), PAGES[0]]) {
    await page.click(`nav a[href="${path}"]`);
    await page.waitForURL((url) => url.pathname === path);
    await page.waitForSelector("#main [data-panel]");
    const found = await page.evaluate(() => ({
      title: document.title, heading: document.querySelector("h1").textContent,
      current: [...document.querySelectorAll('nav [aria-current="page"]')].map((link) => link.getAttribute("href")).join(),
      empty: [...document.querySelectorAll("#main [data-panel]")].filter((panel) => !panel.innerText.trim()).map((panel) => panel.dataset.panel),
      notices: [...document.querySelectorAll(".notice.error, .notice.warning")].map((notice) => notice.innerText),
      tables: [...document.querySelectorAll(".panel > .scroll tbody tr")].length,
    }));
    report.check(`${path}: opens by its link`, found.heading === title && found.title.startsWith(title) && found.current === path, JSON.stringify(found));
    report.none(`${path}: no panel is empty, nothing is wrong`, [...found.empty, ...found.notices]);
    const drawn = await page.evaluate(drawnFigures);
    report.check(`${path}: ${CHARTS[path] ?? 0} charts are drawn`, drawn.length >= (CHARTS[path] ?? 0), drawn.join());
    if (["/sales", "/activity", "/inventory", "/pipeline", "/history"].includes(path)) {
      report.check(`${path}: its table has rows`, found.tables > 0);
    }
  }
}

/** Fills in the form of /history as a person does, and holds the rows against the API. */
export async function history(report, page) {
  const origin = new URL(page.url()).origin;
  await page.click('nav a[href="/history"]');
  await page.waitForURL(/\/history/);
  const wishes = [
    { type: "sales_by_category", granularity: "hour", range: "24h", measure: "revenue" },
    { type: "activity_by_type", granularity: "day", range: "30d", measure: "events" },
    { type: "sales_total", granularity: "minute", range: "1h", measure: "transactions" },
    { type: "sales_by_product", granularity: "day", range: "7d", measure: "units" },
  ];
  for (const wish of wishes) {
    // The choices of a view come with the view.
    for (const name of ["type", "range", "granularity", "measure"]) {
      if (await page.locator(`select[name=${name}] option[value="${wish[name]}"]`).count() === 0) await submit(page);
      await page.selectOption(`select[name=${name}]`, wish[name]);
    }
    await submit(page);
    const words = `${wish.type} per ${wish.granularity}, ${wish.range}`;
    const url = new URL(page.url());
    report.check(`/history: the choice is in the address: ${words}`,
      Object.entries(wish).every(([name, value]) => url.searchParams.get(name) === value), page.url());
    const found = await rowsShown(page);
    const answer = await (await fetch(new URL(found.json, origin), { signal: AbortSignal.timeout(15_000) })).json();
    report.check(`/history: finds the rows of the API: ${words}`,
      found.count > 0 && found.shown > 0 && Math.abs(found.count - answer.count) <= 20, `${JSON.stringify(found)}; the API has ${answer.count}`);
    report.check(`/history: draws them: ${words}`, (await page.evaluate(drawnFigures)).includes("history"));
    const kept = await page.evaluate(() => Object.fromEntries(new FormData(document.querySelector("form.history"))));
    report.check(`/history: the form keeps the choice: ${words}`, Object.entries(wish).every(([name, value]) => kept[name] === value), JSON.stringify(kept));
  }
  // Ends of one's own, in the past, and one key.
  await page.selectOption("select[name=type]", "sales_by_category");
  await page.selectOption("select[name=range]", "custom");
  await submit(page);
  const key = await page.evaluate(() => document.querySelector('[data-panel="rows"] tbody tr td:nth-child(2)')?.textContent);
  const end = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000 - 2 * 3_600_000);
  await page.selectOption("select[name=granularity]", "hour");
  await page.fill("input[name=from]", new Date(end - 6 * 3_600_000).toISOString().slice(0, 16));
  await page.fill("input[name=to]", end.toISOString().slice(0, 16));
  await page.fill("input[name=key]", key ?? "");
  await submit(page);
  const found = await rowsShown(page);
  report.check("/history: a range and a key of one's own give exactly these rows",
    found.count > 0 && found.count <= 6 && found.keys.every((text) => text === key), JSON.stringify({ key, found }));
  await page.goto(`${origin}/history?type=nothing&range=9z&granularity=second&from=never`);
  const notices = await page.locator(".notice.warning").allInnerTexts();
  report.check("/history: what it does not understand is said, and the page still shows rows",
    notices.length >= 2 && (await rowsShown(page)).count > 0, notices.join(" | "));
}

async function submit(page) {
  await Promise.all([page.waitForEvent("load"), page.click("form.history button")]);
}

function rowsShown(page) {
  return page.evaluate(() => {
    const panel = document.querySelector('[data-panel="rows"]');
    const rows = [...panel.querySelectorAll("tbody tr")];
    return {
      count: Number(/[\d,]+/.exec(panel.querySelector("h2").textContent)[0].replaceAll(",", "")),
      shown: rows.length,
      keys: [...new Set(rows.map((row) => row.cells[1].textContent))],
      json: [...panel.querySelectorAll("a")].find((link) => link.textContent === "JSON").getAttribute("href"),
    };
  });
}

const epochOf = (page) => page.evaluate(() => Number(document.getElementById("main").dataset.epoch));

/** Pausing, and a hidden tab: both leave the server alone, and both come back. */
export async function rest(report, page) {
  await page.goto(new URL("/", page.url()).href);
  const requests = [];
  const closed = [];
  const path = (request) => new URL(request.url()).pathname + new URL(request.url()).search;
  page.on("request", (request) => requests.push(path(request)));
  for (const event of ["requestfailed", "requestfinished"]) page.on(event, (request) => closed.push(path(request)));
  await until(10_000, () => requests.includes("/events"));
  await page.click("#pause");
  const pausedAt = await epochOf(page);
  const word = await until(5_000, async () => /PAUSED/.test(await page.locator(".status").innerText()));
  await sleep(1_500);
  report.check("pause: the page says so, and stays at its epoch", word && (await epochOf(page)) === pausedAt);
  report.check("pause: the stream of events is closed", closed.includes("/events"), closed.join());
  await page.click("#pause");
  const moved = await until(10_000, async () => (await epochOf(page)) > pausedAt);
  report.check("pause: the page goes on when asked to", moved);
  const live = await until(10_000, async () => !/PAUSED/.test(await page.locator(".status").innerText()));
  report.check("pause: the freshness line is the server's again", live);

  await sleep(1_200);
  closed.length = 0;
  // Headless Chromium hides no tab by itself.
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (value ? "hidden" : "visible") });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  const gone = await until(5_000, () => closed.includes("/events"));
  report.check("hidden tab: the stream of events is closed", gone, closed.join());
  await sleep(500);
  requests.length = 0;
  await sleep(2_500);
  report.none("hidden tab: the server is not asked for anything", requests);
  const before = await epochOf(page);
  await hide(false);
  report.check("hidden tab: the page goes on when it is seen again", await until(10_000, async () => (await epochOf(page)) > before));
  report.check("hidden tab: it listens again", await until(10_000, () => requests.includes("/events")), requests.join());
}

/** Tab, arrow keys, Escape and the skip link. */
export async function keyboard(report, page) {
  await page.goto(new URL("/", page.url()).href);
  const unseen = [];
  const stops = [];
  for (let i = 0; i < 24; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const active = document.activeElement;
      // A link that fills its tile shows the focus on itself or on the tile.
      const style = getComputedStyle(active);
      const box = active.getBoundingClientRect();
      return {
        name: `${active.tagName.toLowerCase()} ${(active.getAttribute("aria-label") ?? active.textContent).trim().slice(0, 30)}`,
        outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
      };
    });
    stops.push(stop.name);
    if (!stop.outline || !stop.inside) unseen.push(`${stop.name} ${JSON.stringify(stop)}`);
  }
  report.check("keyboard: the first stop leads to the numbers", /^a skip/i.test(stops[0]), stops[0]);
  report.check("keyboard: Tab reaches links, buttons and charts", stops.some((name) => /^a Sales/.test(name))
    && stops.some((name) => /^button/.test(name)) && stops.some((name) => /^figure/.test(name)), stops.join(", "));
  report.none("keyboard: the focus is always to be seen", unseen);

  await page.focus("#figure-revenue");
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  const tip = page.locator("#figure-revenue .tip");
  const read = (await tip.count()) ? await tip.innerText() : "";
  report.check("keyboard: arrow keys read the values of a chart", /\d\d:\d\d[\s\S]*\$/.test(read), read);
  const said = await page.locator("#announce").textContent();
  report.check("keyboard: what they read is spoken", /\$/.test(said ?? ""), said);
  const before = await epochOf(page);
  await until(10_000, async () => (await epochOf(page)) > before);
  report.check("keyboard: focus and reading outlive a refresh", (await epochOf(page)) > before
    && (await page.evaluate(() => document.activeElement.id)) === "figure-revenue" && (await tip.count()) === 1);
  await page.keyboard.press("Escape");
  report.equal("keyboard: Escape ends the reading", await tip.count(), 0);

  const details = page.locator("#figure-revenue details");
  await details.locator("summary").focus();
  await page.keyboard.press("Enter");
  const opened = await epochOf(page);
  await until(10_000, async () => (await epochOf(page)) > opened);
  report.check("keyboard: an opened data table stays open through a refresh, its button focused",
    (await details.getAttribute("open")) !== null && (await page.evaluate(() => document.activeElement.tagName)) === "SUMMARY");
}

/** Light and dark: colours, and what axe finds. */
export async function themes(report, browser, origin) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await watched(browser, origin, { colorScheme, reducedMotion: "reduce" });
    const page = await context.newPage();
    const found = new Map();
    for (const [path] of PAGES) {
      await page.goto(`${origin}${path}`);
      // Not to be exchanged while it is looked at.
      if (await page.locator("#pause").isVisible()) await page.click("#pause");
      // Row follows row in the same form; axe takes seconds for hundreds of them.
      await page.evaluate(() => document.querySelectorAll("tbody tr:nth-child(n + 13), .letters li:nth-child(n + 6)").forEach((row) => row.remove()));
      await page.evaluate(axe);
      // Only colours differ between the themes.
      const only = colorScheme === "dark" ? { runOnly: ["color-contrast", "link-in-text-block"] } : {};
      const violations = await page.evaluate(async (options) => (await window.axe.run(document, {
        resultTypes: ["violations"], preload: false, iframes: false, ...options,
      })).violations.map(({ id, impact, nodes }) => ({ id, impact, example: nodes[0].html.slice(0, 160), why: nodes[0].failureSummary })), only);
      for (const { id, impact, example, why } of violations) {
        if (!["serious", "critical"].includes(impact)) continue;
        const known = found.get(id) ?? { pages: [], example, why };
        known.pages.push(path);
        found.set(id, known);
      }
    }
    report.none(`${colorScheme}: axe finds nothing serious on any page`,
      [...found].map(([id, { pages, example, why }]) => `${id} on ${pages.join(" ")}: ${example} ${why.replace(/\s+/g, " ")}`));
    await page.goto(`${origin}/`);
    const lightness = await background(page);
    report.check(`${colorScheme}: the page follows the system`, colorScheme === "dark" ? lightness < 60 : lightness > 200, lightness);
    await page.click("#theme");
    const other = await background(page);
    await page.reload();
    report.check(`${colorScheme}: the button changes it, and the choice is kept`,
      Math.abs(other - lightness) > 100 && (await background(page)) === other, `${lightness}, ${other}`);
    judge(report, colorScheme, context);
    await context.close();
  }
}

function background(page) {
  return page.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
    return Math.round((red + green + blue) / 3);
  });
}

/** Telephones: nothing sticks out at the side. */
export async function narrow(report, browser, origin) {
  const context = await watched(browser, origin, { viewport: { width: 400, height: 800 } });
  const page = await context.newPage();
  for (const width of [400, 320]) {
    await page.setViewportSize({ width, height: 800 });
    const wide = [];
    for (const [path] of PAGES) {
      await page.goto(`${origin}${path}`);
      const found = await page.evaluate(() => {
        const room = document.documentElement.clientWidth;
        const scrolls = (element) => element.closest(".scroll, nav");
        const out = [...document.querySelectorAll("body *")].filter((element) =>
          element.getBoundingClientRect().right > room + 1 && !scrolls(element) && !element.closest("svg, .hidden, .skip"));
        return { sideways: document.documentElement.scrollWidth > room, out: out.slice(0, 3).map((element) => element.outerHTML.slice(0, 80)) };
      });
      if (found.sideways) wide.push(`${path}: ${found.out.join(" , ")}`);
    }
    report.none(`${width} px: no page scrolls sideways`, wide);
  }
  await page.setViewportSize({ width: 400, height: 800 });
  await page.goto(`${origin}/`);
  const small = await page.evaluate(() => [...document.querySelectorAll("svg.plot text")]
    .filter((text) => text.getBoundingClientRect().height > 0)
    .filter((text) => {
      const svg = text.ownerSVGElement;
      return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width < 9;
    }).map((text) => `${text.closest("figure")?.id}: ${text.textContent}`));
  report.none("400 px: the text of charts is not too small to read", [...new Set(small)]);
  judge(report, "narrow", context);
  await context.close();
}

/** Without script every number, chart and form is there. */
export async function withoutScript(report, browser, origin) {
  const context = await watched(browser, origin, { javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  const tiles = await page.locator(".tile .value").allInnerTexts();
  report.check("without script: the tiles have their numbers", tiles.length === 6 && tiles.every((text) => /\d/.test(text)), tiles.join());
  const lines = await page.locator("#figure-revenue svg .line").first().getAttribute("d");
  report.check("without script: the charts are drawn", /^M.*L/.test(lines ?? ""), lines);
  const again = await page.evaluate(() => document.querySelector('meta[http-equiv="refresh"]')?.content);
  report.equal("without script: the page asks again by itself, after the usual interval", again, "30");
  const buttons = await page.locator("#theme:visible, #pause:visible").count();
  report.equal("without script: no button that does nothing", buttons, 0);
  for (const [path, title] of PAGES.slice(1)) {
    await page.click(`nav a[href="${path}"]`);
    const heading = await page.locator("h1").innerText();
    report.check(`without script: ${path} opens`, heading === title, heading);
  }
  await page.goto(`${origin}/history`);
  await page.selectOption("select[name=type]", "sales_by_store");
  await Promise.all([page.waitForURL(/type=sales_by_store/), page.click("form.history button")]);
  const heading = await page.locator('[data-panel="rows"] h2').innerText();
  report.check("without script: the form of /history finds rows", Number.parseInt(heading, 10) > 0, heading);
  judge(report, "without script", context);
  await context.close();
}
