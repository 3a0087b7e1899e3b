/* The script of the console: clocks that count, parts of a page that change, forms that survive a lost connection. */
(() => {
  "use strict";
  const root = document.documentElement;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `firsthour_zone=${encodeURIComponent(zone)}`;
  if (zone && !document.cookie.split("; ").includes(cookie)) {
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  }

  // --- clocks: business time may run faster than the clock of the browser, and differ from it
  const origin = Date.parse(root.dataset.now), loaded = performance.now(), speed = Number(root.dataset.speed || 1);
  const now = () => origin + (performance.now() - loaded) * speed;
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
})();
