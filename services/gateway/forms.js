/* FirstHour: <form data-firsthour action="https://HOST/v1/forms/NAME" method="post">. No cookie. */
((d) => {
  const opened = Date.now(), error = "data-fh-error", invalid = "aria-invalid";
  const stored = (name, value) => {
    try {
      if (value) localStorage.setItem(name, JSON.stringify(value));
      return JSON.parse(localStorage.getItem(name)) || {};
    } catch { return value || {}; }
  };
  const node = (role, text) => {
    const made = d.createElement("p");
    made.setAttribute("role", role);
    made.textContent = text;
    return made;
  };
  const reset = (form) => { form.$key = form.$sent = 0; };
  const remember = () => {
    const found = {};
    new URLSearchParams(location.search).forEach((value, name) => { if (/^utm_\w+$/.test(name)) found[name] = value.slice(0, 200); });
    if (d.referrer && d.referrer.split("/")[2] !== location.host) found.referrer = d.referrer.split("?")[0].slice(0, 500);
    if (!Object.keys(found)[0]) return;
    if (!Object.keys(stored("fh_first"))[0]) stored("fh_first", found);
    stored("fh_last", found);
  };
  const values = (form) => {
    const body = stored("fh_last"), first = stored("fh_first"), data = new FormData(form);
    const yes = form.querySelector("[name=consent]:checked");
    for (const name of ["utm_source", "referrer"]) if (first[name]) body["first_" + name] = first[name];
    body.timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const name of new Set(data.keys())) {
      const all = data.getAll(name).filter((value) => typeof value == "string");
      if (all.length) body[name] = all[1] ? all : all[0];
    }
    if (yes && yes.labels[0]) body.consent_text = yes.labels[0].textContent.trim().slice(0, 1000);
    body._ms = Date.now() - opened;
    return JSON.stringify(body);
  };
  const refuse = (form, problem) => {
    const fault = (problem.errors || [])[0], name = fault && fault.pointer.slice(2), field = name && form.elements[name];
    const label = field && field.labels && field.labels[0];
    const note = node("alert", fault ? (label ? label.textContent.trim() : name) + " " + fault.detail.replace(/`/g, "") : problem.detail);
    note.setAttribute(error, "");
    if (!field || !field.after) return form.append(note);
    field.setAttribute(invalid, "true");
    field.after(note);
    field.focus();
  };
  const send = async (form) => {
    if (form.$busy) return;
    form.$busy = 1;
    for (const old of form.querySelectorAll("[" + error + "]")) old.remove();
    for (const field of form.querySelectorAll("[" + invalid + "]")) field.removeAttribute(invalid);
    form.$key = form.$key || opened + "-" + Math.random();
    form.$sent = form.$sent || values(form);
    try {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": form.$key };
      const answer = await fetch(form.getAttribute("action"), { method: "POST", headers, body: form.$sent });
      if (!answer.ok) { reset(form); refuse(form, await answer.json()); }
      else if (form.dataset.next) location.assign(form.dataset.next);
      else form.replaceWith(node("status", form.dataset.thanks || "Thank you. Your message has arrived."));
    } catch { refuse(form, { detail: form.dataset.offline || "Not sent. Please try again." }); }
    form.$busy = 0;
  };
  remember();
  d.addEventListener("input", (event) => { if (event.target.form) reset(event.target.form); });
  d.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-firsthour]")) return;
    event.preventDefault();
    send(event.target);
  });
})(document);
