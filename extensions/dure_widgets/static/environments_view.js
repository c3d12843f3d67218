// Everybody's servers: a body of two rows for each, the second for its stop form and for what came of an action.

const ACTIVE = ["waiting", "held", "starting", "running", "stopping"];
const HOURS = [1, 4];
const keyOf = (one) => `${one.owner}/${one.name}`;
const secondsTo = (iso) => (new Date(iso).getTime() - Date.now()) / 1000;

function cell(model, label, ...children) {
  return h("td", { "data-label": word(model, label) }, h("div", { class: "dure-cell" }, ...children));
}

/** What is in this state of all that idleness is judged by; nothing where nothing is. */
function checksIn(model, one, kind) {
  const names = (one.checks ?? []).filter((each) => each.state === kind).map((each) => word(model, `check.${each.check}`));
  return names.length ? word(model, `checks.${kind}`, { [kind]: names.join(", ") }) : "";
}

/** The form that asks why, in the row below. */
function stopForm(model, one, closed) {
  const names = { owner: one.owner, name: one.name };
  const reason = field(word(model, "reason", names), h("input", { type: "text", maxlength: 200, autocomplete: "off" }));
  const node = h("form", { class: "dure-stop", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const why = reason.control.value.trim();
    reason.say(why ? "" : word(model, "reason_missing"));
    if (!why) return reason.control.focus();
    if (model.get("busy")) return;
    ask(model, "stop", { ...names, reason: why, now: event.submitter?.value === "now" });
    closed(false);
  }, onkeydown: (event) => event.key === "Escape" && closed(true) },
  reason.node, h("div", { class: "dure-row" }, h("button", { type: "submit" }, word(model, "stop_soon")),
    h("button", { type: "submit", value: "now", class: "dure-quiet" }, word(model, "stop_now")), button(word(model, "keep"), () => closed(true), { quiet: true })));
  return { node, focus: () => reason.control.focus() };
}

function serverRows(model, first) {
  const names = { owner: first.owner, name: first.name };
  const who = h("th", { scope: "row", "data-label": word(model, "who") }, h("div", { class: "dure-cell" }, first.owner));
  const open = h("span");
  const profile = h("span");
  const state = chip();
  const why = h("span", { class: "dure-help" });
  const since = h("time");
  const until = h("time");
  const left = h("span", { class: "dure-help" });
  const used = h("span");
  const unless = h("span", { class: "dure-help" });
  const checks = h("span", { class: "dure-help" });
  const extend = HOURS.map((hours) => {
    const node = button(word(model, "extend", { hours }), () => !model.get("busy") && ask(model, "extend", { ...names, hours }), { quiet: true });
    put(node, "aria-label", word(model, "extend_name", { ...names, hours }));
    return node;
  });
  const stop = button(word(model, "stop"), () => toggle(true), { quiet: true });
  put(stop, "aria-label", word(model, "stop_name", names));
  const note = h("p", { class: "dure-note", role: "status" });
  const place = h("td", { colspan: 8 }, note);
  const more = h("tr", { class: "dure-more" }, place);
  let form = null;
  const seeMore = () => show(more, Boolean(form) || !note.hidden);
  const toggle = (wanted, focus = true) => {
    if (Boolean(form) === wanted) return;
    if (form) form.node.remove();
    form = wanted ? stopForm(model, first, (back) => toggle(false, back)) : null;
    put(stop, "aria-expanded", wanted ? "true" : "false");
    if (form) place.prepend(form.node);
    seeMore();
    if (form) form.focus();
    else if (focus) stop.focus();
  };
  const actions = h("div", { class: "dure-row" }, extend, stop);
  const server = cell(model, "server", open);
  const kind = cell(model, "profile", profile);
  for (const node of [server, kind]) put(node, "class", "dure-any");
  const node = h("tbody", { class: "dure-env" },
    h("tr", {}, who, server, kind, cell(model, "state", state, why), cell(model, "since", since),
      cell(model, "until", until, left), cell(model, "idle", used, unless, checks), cell(model, "actions", actions)),
    more);
  let now = first;
  node.count = () => {
    const end = now.lease?.until;
    text(left, end ? (secondsTo(end) > 0 ? word(model, "left", { time: duration(model, secondsTo(end)) }) : word(model, "over")) : "");
    const idle = now.idle_since ? -secondsTo(now.idle_since) : null;
    const running = now.phase === "running";
    text(used, !running ? "–" : idle === null ? word(model, "unknown") : idle < 60 ? word(model, "in_use") : word(model, "ago", { time: duration(model, idle) }));
    text(unless, running && now.idle_end && idle >= 60 ? word(model, "idle_end", { time: duration(model, secondsTo(now.idle_end)) }) : "");
  };
  node.patch = (one, said) => {
    now = one;
    const active = ACTIVE.includes(one.phase);
    text(open, one.name);
    text(profile, one.profile);
    setChip(state, one.phase, word(model, one.phase));
    const ending = one.stop_at && active ? one.stop_text?.[model.get("language")] : null;
    text(why, ending ?? one.reason ?? "");
    text(checks, ["in_use", "unknown"].map((kind) => checksIn(model, one, kind)).filter(Boolean).join(" "));
    for (const [node, iso] of [[since, one.lease?.granted_at ?? one.ticket?.asked_at], [until, one.lease?.until]]) {
      setMoment(model, node, iso);
      if (!iso) text(node, "–");
    }
    const limit = one.extendable_until ? secondsTo(one.extendable_until) : null;
    const room = one.lease?.until && limit !== null && limit - secondsTo(one.lease.until) > 1;
    for (const each of extend) {
      able(each, Boolean(room));
      put(each, "title", active && !room ? word(model, "at_limit") : null);
      show(each, one.phase === "starting" || one.phase === "running");
    }
    show(stop, active && one.phase !== "stopping");
    if (stop.hidden) toggle(false, false);
    put(note, "data-kind", said?.kind ?? null);
    text(note, !said ? "" : said.word ? word(model, said.word, { time: moment(model, said.until) }) : said.text);
    show(note, Boolean(said) && (active || said.word !== "asked_to_stop"));
    seeMore();
    node.count();
  };
  return node;
}

function eventRow(model) {
  const at = h("time");
  const [who, did, thing, why] = [h("td"), h("td"), h("td"), h("td", { class: "dure-wide" })];
  const node = h("tr", {}, h("td", {}, at), who, did, thing, why);
  node.patch = (one) => {
    setMoment(model, at, one.at);
    text(who, one.on_behalf_of && one.on_behalf_of !== one.actor ? word(model, "for", { actor: one.actor, owner: one.on_behalf_of }) : one.actor);
    text(did, word(model, one.verb));
    text(thing, one.object.replace(/^environment:/, ""));
    const until = one.verdict?.facts?.until;
    const reason = one.verdict?.why ?? one.verdict?.reason;
    text(why, until ? `${word(model, "until")} ${moment(model, until)}` : typeof reason === "string" ? reason : "");
  };
  return node;
}

function render({ model, el }) {
  const box = frame(model, el, word(model, "title"));
  const person = h("select", {}, h("option", { value: "" }, word(model, "everybody")));
  const ended = h("input", { type: "checkbox" });
  const choose = field(word(model, "person"), person);
  box.aside.append(h("div", { class: "dure-filter" }, choose.node, field(word(model, "ended_too"), ended).node));
  const waiting = h("p", { class: "dure-empty", role: "status" }, word(model, "waiting_for"));
  const empty = h("p", { class: "dure-empty" }, word(model, "empty"));
  const heads = ["who", "server", "profile", "state", "since", "until", "idle", "actions"];
  const table = h("table", { class: "dure-envs" }, h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col" }, word(model, one))))));
  // The table's head stays the first child; bodies follow it.
  const bodies = { rows: [], kept: new Map() };
  const frameOfTable = h("div", { class: "dure-scroll" }, table);
  const log = h("tbody");
  const logHeads = ["when", "who", "did", "thing", "why"];
  const happened = h("section", { class: "dure-body" }, h("h4", {}, word(model, "events")),
    h("div", { class: "dure-scroll dure-events", tabindex: 0, role: "group", "aria-label": word(model, "events") },
      h("table", {}, h("thead", {}, h("tr", {}, logHeads.map((one) => h("th", { scope: "col" }, word(model, one))))), log)));
  box.body.append(waiting, empty, frameOfTable, happened);

  const people = (all) => {
    const wanted = ["", ...[...new Set(all.map((one) => one.owner))].sort()];
    if (wanted.join("\n") === [...person.options].map((one) => one.value).join("\n")) return;
    const before = person.value;
    person.replaceChildren(...wanted.map((name) => h("option", { value: name }, name || word(model, "everybody"))));
    person.value = wanted.includes(before) ? before : "";
  };
  const place = (shown, notes) => {
    const wanted = new Set(shown.map(keyOf));
    for (const [key, node] of [...bodies.kept]) {
      if (!wanted.has(key)) {
        node.remove();
        bodies.kept.delete(key);
      }
    }
    let before = table.tHead;
    for (const one of shown) {
      const key = keyOf(one);
      const node = bodies.kept.get(key) ?? serverRows(model, one);
      bodies.kept.set(key, node);
      if (before.nextSibling !== node) before.after(node);
      before = node;
      node.patch(one, notes[key]);
    }
  };
  const patch = () => {
    const { environments, events, notes } = model.get("state");
    show(waiting, !environments && !model.get("problem"));
    const all = environments ?? [];
    people(all);
    const shown = all.filter((one) => (!person.value || one.owner === person.value) && (ended.checked || ACTIVE.includes(one.phase) || notes[keyOf(one)]));
    shown.sort((one, other) => ACTIVE.includes(other.phase) - ACTIVE.includes(one.phase) || keyOf(one).localeCompare(keyOf(other)));
    place(shown, notes);
    show(frameOfTable, shown.length);
    show(empty, environments && !shown.length);
    show(happened, events);
    keyed(log, events ?? [], (one) => one.id, () => eventRow(model), (row, one) => row.patch(one));
  };
  person.addEventListener("change", patch);
  const clock = setInterval(() => bodies.kept.forEach((node) => node.count()), 1000);
  box.closing.push(() => clearInterval(clock));
  box.closing.push(listen(model, "change:state change:problem", patch));
  patch();
  const looking = live(model, box.root, 2, () => ({ ended: ended.checked }));
  ended.addEventListener("change", () => {
    patch();
    looking.now();
  });
  box.closing.push(looking.stop);
  return box.close;
}

export default { render };
