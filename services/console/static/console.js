/* The script of the console: clocks that count, parts of a page that change, forms that survive a lost connection. */
(() => {
  "use strict";
  const root = document.documentElement;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `firsthour_zone=${encodeURIComponent(zone)}`;
  if (zone && !document.cookie.split("; ").includes(cookie)) {
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  }

  // --- clocks: business time may run faster than the clock of the browser, and differ from it. `performance.now()` would stand
  // still while a phone sleeps, and the clocks would show too much time afterwards.
  const origin = Date.parse(root.dataset.now), loaded = Date.now(), speed = Number(root.dataset.speed || 1);
  const now = () => origin + (Date.now() - loaded) * speed;
  const span = (ms) => {
    const seconds = Math.floor(Math.abs(ms) / 1000);
    const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
    const two = (n) => String(n).padStart(2, "0");
    return hours >= 48 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  };
  const tick = () => {
    for (const element of document.querySelectorAll("[data-due]")) {
      const left = Date.parse(element.dataset.due) - now();
      const text = `${span(left)} ${left < 0 ? element.dataset.late : element.dataset.left}`;
      if (element.textContent !== text) element.textContent = text;
      element.classList.toggle("late", left < 0);
      element.classList.toggle("due", left >= 0 && left < 600000);
    }
  };
  if (!Number.isNaN(origin)) {
    tick();
    setInterval(tick, 1000);
  }

  // --- the state of the connection
  const offline = document.querySelector(".offline");
  const lost = (isLost, why = "") => {
    if (!offline || offline.hidden === !isLost) return;
    const at = new Date().toLocaleTimeString(root.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    offline.hidden = !isLost;
    offline.textContent = isLost ? `${why || offline.dataset.offline} ${offline.dataset.since} ${at}. ${offline.dataset.again}` : "";
    document.body.classList.toggle("stale", isLost);
  };

  // --- pages that are shown without loading everything again
  const show = async (response, form) => {
    const text = await response.text();
    const next = new DOMParser().parseFromString(text, "text/html");
    const main = next.querySelector("main"), whole = main && document.querySelector("nav") && next.querySelector("nav");
    if (response.status === 401) { location.reload(); return; }
    if (!whole && !response.ok) { refused(form, response, text, main); return; }
    if (!whole) { location.assign(response.url); return; }
    document.querySelector("main").replaceWith(main);
    document.title = next.title;
    if (response.redirected && response.url !== location.href) history.replaceState(null, "", response.url);  // else it is the address of an action
    tick();
    follow();
    main.querySelector("form[data-continue]")?.requestSubmit();  // the next part of a long task
    const answer = main.querySelector(".answer");
    if (answer) { answer.tabIndex = -1; answer.focus(); }
  };

  const refused = (form, response, text, main) => {  // the page stays, with what was typed
    const isProblem = (response.headers.get("content-type") || "").includes("json");
    const answer = document.createElement("p");
    answer.className = "answer bad";
    answer.role = "alert";
    answer.tabIndex = -1;
    answer.textContent = isProblem ? JSON.parse(text).detail : main?.querySelector("p")?.textContent || `HTTP ${response.status}`;
    document.querySelector("main > .answer")?.remove();
    document.querySelector("main").prepend(answer);
    answer.focus();
    delete form.dataset.sending;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
  };

  // --- forms: one that meets a lost connection is sent again, with the same `once`, until it arrives
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("live" in form.dataset) || form.dataset.sending) { if (form.dataset.sending) event.preventDefault(); return; }
    event.preventDefault();
    form.dataset.sending = "yes";
    const body = new URLSearchParams(new FormData(form, event.submitter));
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
    for (;;) {
      try {
        const response = await fetch(form.action, { method: "POST", body, credentials: "same-origin" });
        if ([502, 503, 504].includes(response.status)) throw new Error("not now");  // of the server, or of a proxy before it
        lost(false);
        await show(response, form);
        return;
      } catch {
        lost(true);
        await new Promise((again) => setTimeout(again, 2000));
      }
    }
  });

  // --- a page that could not be loaded
  const waiting = document.querySelector("[data-again-after]");
  if (waiting) {
    setInterval(async () => {
      try {
        if ((await fetch(location.href, { credentials: "same-origin" })).status < 500) location.reload();
      } catch { /* the next attempt follows */ }
    }, waiting.dataset.againAfter * 1000);
  }

  // --- drafts: a file that is dropped on a form, or chosen, becomes the text of its field
  const fits = (form, text) => {
    const note = form.querySelector("[data-large]");
    const large = text.length > note.dataset.max;
    note.hidden = !large;
    note.textContent = large ? note.dataset.large : "";
    return !large;
  };
  const take = async (form, file) => {
    const text = await file.slice(0, 8 * form.querySelector("[data-large]").dataset.max).text();
    if (!fits(form, text)) return;
    form.elements[form.dataset.drop].value = text;
    const kind = file.name.replace(/\.ya?ml$/i, "");
    if ([...form.elements.file.options].some((option) => option.value === kind)) form.elements.file.value = kind;
  };
  for (const form of document.querySelectorAll("form[data-drop]")) {
    const pick = form.querySelector(".pick");
    pick.hidden = false;
    pick.querySelector("input").addEventListener("change", (event) => { if (event.target.files[0]) take(form, event.target.files[0]); });
    form.addEventListener("submit", (event) => { if (!fits(form, form.elements[form.dataset.drop].value)) event.preventDefault(); });
    form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("dropping"); });
    form.addEventListener("dragleave", () => form.classList.remove("dropping"));
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("dropping");
      if (event.dataTransfer.files[0]) take(form, event.dataTransfer.files[0]);
    });
  }

  // --- parts that change
  const again = (closed) => setTimeout(async () => {  // a browser gives up after an answer such as 502 or 503
    if (closed !== source) return;
    try {
      if ((await fetch("/console", { credentials: "same-origin", redirect: "manual" })).status === 401) { location.reload(); return; }
    } catch { /* the next attempt follows */ }
    if (closed === source) follow();
  }, 2000 + Math.random() * 3000);
  let source = null, fresh = {};
  const steps = "a[href], summary, .scroll";  // the focus on one of these finds it again in the new text
  const apply = () => {  // a part in which a person is at work waits until they are done
    for (const [name, html] of Object.entries(fresh)) {
      const region = document.querySelector(`[data-region="${name}"]`);
      const at = region && region.querySelector(":focus");
      if (region && (region.querySelector("[data-sending], details[open] form") || (at && !at.matches(steps)))) continue;
      delete fresh[name];
      if (!region) continue;
      const open = [...region.querySelectorAll("details")].map((details) => details.open);
      const place = at ? [...region.querySelectorAll(steps)].indexOf(at) : -1;
      region.innerHTML = html;
      region.querySelectorAll("details").forEach((details, n) => { if (open[n]) details.open = true; });
      if (at) {
        const all = [...region.querySelectorAll(steps)], link = at.getAttribute("href");
        const same = link ? all.find((one) => one.getAttribute("href") === link) : all[place];
        (same || all[Math.min(place, all.length - 1)] || document.querySelector("main")).focus({ preventScroll: true });
      }
    }
    tick();
  };
  setInterval(() => { if (Object.keys(fresh).length) apply(); }, 1000);
  const follow = () => {
    const url = document.querySelector("main").dataset.stream;
    if (source) source.close();
    source = null;
    fresh = {};
    if (!url) return;
    source = new EventSource(url);
    source.onopen = () => lost(false);
    source.onerror = (event) => {
      lost(true);
      if (event.target.readyState === EventSource.CLOSED) again(event.target);
    };
    source.addEventListener("regions", (event) => {
      lost(false);
      Object.assign(fresh, JSON.parse(event.data));
      apply();
      const asOf = document.querySelector(".as-of time");
      if (asOf) asOf.textContent = new Date(now()).toLocaleTimeString(root.lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    });
    source.addEventListener("problem", (event) => lost(true, JSON.parse(event.data).problem));
    source.addEventListener("ended", () => location.reload());
  };
  addEventListener("offline", () => lost(true));
  addEventListener("online", follow);
  follow();
})();
