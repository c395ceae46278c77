"use strict";
// Keeps an open page on the newest epoch. One answer is one epoch: the whole main part is fetched, and the panels
// whose content differs are replaced at once. Numbers never come from here.
(() => {
  const body = document.body;
  const byId = (id) => document.getElementById(id);

  // Theme: the system's, unless chosen here.
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  if (stored()) root.dataset.theme = stored();
  const themeButton = byId("theme");
  if (themeButton) {
    themeButton.hidden = false;
    themeButton.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* only this page then */ }
    });
  }

  // Charts over time: a line and the values where the pointer or the arrow keys are. The values are those of the
  // data table below the chart.
  let shown = null; // { figure id, row }
  const removeCursor = (figure) => figure.querySelectorAll(".cursor, .tip").forEach((part) => part.remove());
  const visibleChart = (figure) => [...figure.querySelectorAll(".chart")].find((chart) => chart.offsetParent !== null);

  function showRow(figure, row, speak) {
    if (shown && shown.id !== figure.id) hideCursor();
    removeCursor(figure);
    const chart = visibleChart(figure);
    const svg = chart && chart.querySelector("svg[data-plot]");
    const rows = figure.querySelectorAll("tbody tr");
    if (!svg || !rows.length) return;
    row = Math.max(0, Math.min(rows.length - 1, row));
    shown = { id: figure.id, row };
    const [left, top, right, bottom] = svg.dataset.plot.split(" ").map(Number);
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const x = (rows.length > 1 ? left + (right - left) * row / (rows.length - 1) : (left + right) / 2) * scale;
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.style.left = x + "px";
    cursor.style.top = top * scale + "px";
    cursor.style.height = (bottom - top) * scale + "px";
    const tip = document.createElement("div");
    tip.className = "tip";
    const names = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
    const values = [...rows[row].children].map((cell) => cell.textContent);
    const heading = document.createElement("b");
    heading.textContent = values[0];
    tip.append(heading);
    for (let i = 1; i < values.length; i++) {
      const line = document.createElement("span");
      const name = document.createElement("i");
      name.textContent = names[i];
      name.style.fontStyle = "normal";
      const value = document.createElement("strong");
      value.textContent = values[i];
      line.append(name, value);
      tip.append(line);
    }
    chart.append(cursor, tip);
    const room = chart.clientWidth - tip.offsetWidth;
    tip.style.left = Math.max(0, x + 12 > room ? Math.min(room, x - tip.offsetWidth - 12) : x + 12) + "px";
    tip.style.top = top * scale + "px";
    if (speak) announce(values.map((value, i) => (i ? names[i] + " " : "") + value).join(", "));
  }

  const figureOf = (target) => target instanceof Element ? target.closest("figure.over-time") : null;
  document.addEventListener("pointermove", (event) => {
    const figure = figureOf(event.target);
    const svg = figure && event.target.closest(".chart") && visibleChart(figure)?.querySelector("svg[data-plot]");
    if (!svg) { hideCursor(); return; }
    const [left, , right] = svg.dataset.plot.split(" ").map(Number);
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width - left) / (right - left);
    const rows = figure.querySelectorAll("tbody tr").length;
    showRow(figure, Math.round(at * (rows - 1)), false);
  });
  function hideCursor() {
    const figure = shown && byId(shown.id);
    if (figure) removeCursor(figure);
    shown = null;
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { hideCursor(); return; }
    const figure = document.activeElement && document.activeElement.matches("figure.over-time") ? document.activeElement : null;
    if (!figure || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = figure.querySelectorAll("tbody tr").length - 1;
    const row = shown && shown.id === figure.id ? shown.row : last + 1;
    const next = { ArrowLeft: row - 1, ArrowRight: row + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    showRow(figure, next, true);
  });

  // Charts over time name themselves to the browser's own tooltip, which would cover ours.
  function quieten(scope) {
    scope.querySelectorAll("figure.over-time svg > title").forEach((title) => {
      const svg = title.parentNode;
      svg.setAttribute("aria-label", title.textContent);
      svg.removeAttribute("aria-labelledby");
      title.remove();
    });
  }
  quieten(document);

  // Whoever sets an end of the range means it.
  document.querySelectorAll("form.history input[type=datetime-local]").forEach((input) => {
    input.addEventListener("input", () => { input.form.elements.range.value = "custom"; });
  });

  // The status is announced when it changes, numbers are not.
  function announce(text) { const region = byId("announce"); if (region) region.textContent = text; }

  if (!("live" in body.dataset)) return;
  const refresh = Math.max(1, Number(body.dataset.refresh) || 30) * 1000;
  const LEAST = 1000;       // between two fetches
  const QUIET = Math.min(refresh, 5000); // without an epoch: the status may have changed all the same
  const main = () => byId("main");
  let etag = null, busy = false, last = 0, timer = 0, failures = 0, stream = null;
  let paused = false, pausedAt = "", newer = 0, newestSeen = Number(main().dataset.epoch);

  const time = () => new Date().toLocaleTimeString([], { hour12: false });

  function say(state, symbol, word, about) {
    const status = document.querySelector('[data-panel="status"]');
    if (!status) return;
    if (status.dataset.state !== state) announce(word + " " + about);
    status.className = "status " + state;
    status.dataset.state = state;
    status.dataset.hash = "";
    const line = document.createElement("p"), strong = document.createElement("strong"), rest = document.createElement("span");
    strong.textContent = symbol + " " + word;
    rest.className = "about";
    rest.textContent = about;
    line.append(strong, " ", rest);
    status.replaceChildren(line);
  }

  const focusables = (panel) => [...panel.querySelectorAll("a, button, summary, input, select, [tabindex]")];

  function replace(old, fresh) {
    const open = [...old.querySelectorAll("details")].map((part) => part.open);
    const scrolls = [...old.querySelectorAll(".scroll")].map((part) => [part.scrollLeft, part.scrollTop]);
    const focus = old.contains(document.activeElement) ? focusables(old).indexOf(document.activeElement) : -1;
    quieten(fresh);
    old.replaceWith(fresh);
    fresh.querySelectorAll("details").forEach((part, i) => { if (open[i]) part.open = true; });
    fresh.querySelectorAll(".scroll").forEach((part, i) => { if (scrolls[i]) [part.scrollLeft, part.scrollTop] = scrolls[i]; });
    if (focus >= 0) focusables(fresh)[focus]?.focus({ preventScroll: true });
    if (shown && fresh.querySelector("#" + CSS.escape(shown.id))) showRow(byId(shown.id), shown.row, false);
  }

  // Text that is being selected stays until the selection is gone.
  const selecting = (panel) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && panel.contains(selection.anchorNode);
  };

  function apply(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    const here = main();
    if (!fresh || !here) return;
    const panels = (scope) => new Map([...scope.querySelectorAll("[data-panel]")].map((panel) => [panel.dataset.panel, panel]));
    const before = panels(here), after = panels(fresh);
    let whole = true;
    if ([...before.keys()].join() !== [...after.keys()].join()) {
      // Panels have come or gone: the whole part is replaced, in one go all the same.
      const [x, y] = [scrollX, scrollY];
      quieten(fresh);
      here.replaceWith(fresh);
      scrollTo(x, y);
    } else {
      for (const [name, panel] of after) {
        const old = before.get(name);
        if (old.dataset.hash === panel.dataset.hash) continue;
        if (selecting(old)) { whole = false; continue; }
        if (name === "status" && old.dataset.state !== panel.dataset.state) announce(panel.querySelector("strong")?.textContent ?? "");
        replace(old, panel);
      }
      here.dataset.epoch = fresh.dataset.epoch;
    }
    newestSeen = Number(fresh.dataset.epoch);
    const badge = byId("alert-count");
    if (badge) { badge.textContent = fresh.dataset.alerts; badge.hidden = fresh.dataset.alerts === "0"; }
    const foot = document.querySelector(".bottom p");
    if (foot) foot.firstChild.textContent = foot.firstChild.textContent.replace(/epoch \d+/, "epoch " + fresh.dataset.epoch);
    if (!whole) etag = null;
  }

  async function fetchNow() {
    clearTimeout(timer);
    if (busy || paused || document.hidden) return;
    busy = true;
    last = Date.now();
    const url = new URL(location.href);
    url.searchParams.set("fragment", "1");
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const response = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(15000) });
      const was = failures;
      if (response.status === 200) {
        const text = await response.text();
        etag = response.headers.get("ETag");
        if (!paused) apply(text);
      } else if (response.status !== 304) {
        throw new Error("HTTP " + response.status);
      } else if (was >= 2) {
        etag = null; // the status line was ours: get the server's again
      }
      failures = 0;
      schedule(was >= 2 && etag === null ? LEAST : QUIET);
    } catch {
      failures += 1;
      const wait = Math.min(30, 2 ** (failures - 1));
      if (failures >= 2) { etag = null; countdown(wait); }
      schedule(wait * 1000);
    } finally {
      busy = false;
    }
  }

  let counting = 0;
  function countdown(seconds) {
    clearInterval(counting);
    const tick = () => {
      if (failures < 2 || paused || seconds < 0) { clearInterval(counting); return; }
      say("lost", "○", "DISCONNECTED", "browser lost the server; retrying in " + seconds + " s");
      seconds -= 1;
    };
    tick();
    counting = setInterval(tick, 1000);
  }

  function schedule(wait) {
    clearTimeout(timer);
    timer = setTimeout(fetchNow, wait);
  }

  // At most one fetch a second, and one after the last epoch of a burst.
  function soon() {
    if (failures >= 2) return;
    schedule(Math.max(0, last + LEAST - Date.now()));
  }

  function listen() {
    if (stream || paused || document.hidden || !("EventSource" in window)) return;
    stream = new EventSource("/events");
    stream.addEventListener("epoch", (event) => {
      const epoch = Number.parseInt(event.lastEventId || event.data, 10) || Number(JSON.parse(event.data).epoch);
      if (paused) return;
      if (!(epoch <= newestSeen)) soon();
    });
    // The browser tries again by itself, unless it was refused: then polling goes on alone.
  }
  function hush() {
    if (stream) stream.close();
    stream = null;
  }

  const pauseButton = byId("pause");
  async function countNewer() {
    if (!paused || document.hidden) return;
    try {
      const response = await fetch("/api/v1/progress", { cache: "no-store" });
      newer = Math.max(0, Number((await response.json()).epoch) - newestSeen);
    } catch { /* the count stays */ }
    if (!paused) return;
    say("paused", "‖", "PAUSED", "by you at " + pausedAt + ", " + newer + " newer epoch" + (newer === 1 ? "" : "s"));
    timer = setTimeout(countNewer, QUIET);
  }
  function pause(on) {
    paused = on;
    pauseButton.setAttribute("aria-pressed", String(on));
    pauseButton.textContent = on ? "▶ Resume" : "‖ Pause";
    clearTimeout(timer);
    if (on) { pausedAt = time(); newer = 0; hush(); countNewer(); } else { etag = null; listen(); fetchNow(); }
  }
  if (pauseButton) {
    pauseButton.hidden = false;
    pauseButton.addEventListener("click", () => pause(!paused));
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.key !== "p" || !pauseButton) return;
    pause(!paused);
  });

  // A hidden tab holds no connection: browsers allow six to a host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { hush(); clearTimeout(timer); } else if (paused) { countNewer(); } else { listen(); fetchNow(); }
  });
  addEventListener("pagehide", hush);
  addEventListener("pageshow", (event) => { if (event.persisted && !paused) { listen(); fetchNow(); } });

  listen();
  schedule(LEAST);
})();
