// What all of Dure's widgets share. Joined in front of a widget's own file, which ends in `export default { render }`.

/** An element with attributes (`on…` are listeners) and children. Text is only ever set as text, never as markup. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) put(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Set one attribute, only where it changes; false and null remove it. */
function put(node, name, value) {
  if (name.startsWith("on") && typeof value === "function") node.addEventListener(name.slice(2), value);
  else if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value === true ? "" : value))
    node.setAttribute(name, value === true ? "" : String(value));
}

/** Set a node's text, only where it changes, so that selections and readers are left alone. */
function text(node, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Show or hide a node. */
function show(node, visible) {
  if (node.hidden === Boolean(visible)) node.hidden = !visible;
}

/** Enable or disable a control. A control that is worked on keeps the focus: it is marked, not disabled. */
function able(node, enabled) {
  if (node.disabled === Boolean(enabled)) node.disabled = !enabled;
}

let idsGiven = 0;
/** An id that no other element of this page has. */
const newId = () => `dure-${Date.now().toString(36)}-${(idsGiven += 1)}-${Math.random().toString(36).slice(2, 8)}`;

/** A text of the reader's language with its facts filled in; a missing fact shows as unknown. */
function word(model, key, facts = {}) {
  const words = model.get("words");
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => facts[name] ?? words.unknown);
}

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** A new ULID, as the portal takes it for the id of a request: what is asked twice under one id is done once. */
function newUlid() {
  let time = Date.now();
  let stamp = "";
  for (let at = 0; at < 10; at += 1) {
    stamp = ALPHABET[time % 32] + stamp;
    time = Math.floor(time / 32);
  }
  return stamp + [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => ALPHABET[byte % 32]).join("");
}

// What was clicked and is not answered yet, {verb, id}: one for all views of a widget, since a module is loaded once
// for each widget. From the click on a second one is refused, long before the kernel says that it is at work.
let pending = null;
const busyHeard = new Set();
function setPending(wanted) {
  pending = wanted;
  busyHeard.forEach((listener) => listener());
}

/** The verb that is worked on, "" where there is none. */
const busyWith = (model) => pending?.verb ?? model.get("busy");

/** Call this when that changes, until clean-up. */
function onBusy(model, listener) {
  busyHeard.add(listener);
  const unheard = listen(model, "change:busy", listener);
  return () => {
    busyHeard.delete(listener);
    unheard();
  };
}

/** Ask Python for what was clicked. False, and nothing is sent, while an earlier click is unanswered. */
function ask(model, verb, values = {}) {
  if (busyWith(model)) return false;
  setPending({ verb, id: newUlid() });
  model.send({ ...values, ask: verb, id: pending.id });
  return true;
}

/** Ask for something that holds nothing up and that many may ask for at once; its id, which the answer names. */
function askAside(model, verb, values = {}) {
  const id = newUlid();
  model.send({ ...values, ask: verb, id });
  return id;
}

/** Listen to a model until clean-up; `names` as in "change:state change:busy" or "msg:custom". */
function listen(model, names, listener) {
  for (const name of names.split(" ")) model.on(name, listener);
  return () => names.split(" ").forEach((name) => model.off(name, listener));
}

const LONGEST_PAUSE = 30_000;
const PATIENCE = 60_000;

/**
 * Ask `tick` while `el` is on screen, the page is visible and the kernel is there. The next one comes so many seconds
 * after the answer, and at least as long after it as the answer took; after answers that failed ever later, up to 30 s.
 * An answer that does not come may be lost with its socket: it is asked again after a minute, then after two, four, ….
 * `values()` go along; where they are null there is nothing to ask for now. Gives {stop, now, mine}: `stop` ends it
 * for good, `now` asks at once, `mine(message)` says whether a message answers a look of this view.
 */
function live(model, el, seconds, values = () => ({})) {
  const view = newId();
  let look = null;
  let [number, heard, next, failures, lost] = [0, 0, 0, 0, 0];
  let [seen, over] = [false, false];
  const silent = (yes) => {
    if (yes !== Boolean(el.dataset.silent)) {
      put(el, "data-silent", yes ? "yes" : null);
      el.dispatchEvent(new Event("dure-silent"));
    }
  };
  const now = () => {
    if (over || !seen || document.visibilityState !== "visible" || el.dataset.gone) return;
    if (look && Date.now() - look.at < PATIENCE * 2 ** lost) return;
    const given = values();
    if (given === null) return;
    if (look) {
      lost += 1;
      silent(true);
    }
    number += 1;
    look = { at: Date.now(), after: pending?.id };
    askAside(model, "tick", { ...given, view, number, heard });
  };
  const due = () => Date.now() >= next && now();
  const mine = (message) => message?.answered === "tick" && message.view === view;
  const unheard = listen(model, "msg:custom", (message) => {
    if (!mine(message) || message.number <= heard) return;
    heard = message.number;
    silent(false);
    if (heard < number || !look) return;
    const took = Date.now() - look.at;
    failures = message.failed ? failures + 1 : 0;
    next = Date.now() + Math.max(seconds * 1000, Math.min(took, LONGEST_PAUSE), failures && Math.min(LONGEST_PAUSE, seconds * 1000 * 2 ** failures));
    // The kernel answers in order, so the answer to a click that went before this look was lost on the way.
    if (look.after && pending?.id === look.after) setPending(null);
    look = null;
    lost = 0;
  });
  const watcher = new IntersectionObserver((entries) => {
    seen = entries[entries.length - 1].isIntersecting;
    due();
  });
  watcher.observe(el);
  document.addEventListener("visibilitychange", due);
  const timer = setInterval(due, Math.min(seconds, 1) * 500);
  const stop = () => {
    over = true;
    clearInterval(timer);
    watcher.disconnect();
    document.removeEventListener("visibilitychange", due);
    unheard();
  };
  return { stop, now, mine };
}

/** A moment (ISO 8601) in the viewer's own zone: the time alone today, else with its date. */
function moment(model, iso) {
  if (!iso) return word(model, "unknown");
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  const style = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(model.get("language"), style).format(date);
}

/** A `<time>` for a moment; `setMoment` moves it. */
function momentNode(model, iso) {
  const node = h("time");
  setMoment(model, node, iso);
  return node;
}
function setMoment(model, node, iso) {
  put(node, "datetime", iso || null);
  put(node, "title", iso ? new Date(iso).toLocaleString(model.get("language"), { timeZoneName: "short" }) : null);
  text(node, moment(model, iso));
}

/** A length of time as people say it: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
function duration(model, seconds) {
  if (seconds === null || seconds === undefined) return word(model, "unknown");
  const left = Math.max(0, Math.round(seconds));
  const parts = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const first = Math.max(0, parts.findIndex(([, size]) => left >= size || size === 1));
  let rest = left;
  const said = [];
  for (const [unit, size] of parts.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count || !said.length)
      said.push(new Intl.NumberFormat(model.get("language"), { style: "unit", unit, unitDisplay: "short" }).format(count));
  }
  return said.join(" ");
}

/** A number in the reader's format, or "unknown": null is never zero. */
function number(model, value, options = { maximumSignificantDigits: 4 }) {
  if (value === null || value === undefined || Number.isNaN(value)) return word(model, "unknown");
  return new Intl.NumberFormat(model.get("language"), options).format(value);
}

/** MiB as GiB where that reads better. */
function memory(model, mib) {
  if (mib === null || mib === undefined) return word(model, "unknown");
  const big = mib >= 1024;
  return `${number(model, big ? mib / 1024 : mib, { maximumFractionDigits: big ? 1 : 0 })} ${big ? "GiB" : "MiB"}`;
}

/** A share from 0 to 1 in percent. */
const share = (model, value) => number(model, value, { style: "percent", maximumFractionDigits: 0 });

/** A rate in micro-units an hour as "0.40 an hour"; unknown where it is null. */
function price(model, rate) {
  if (rate === null || rate === undefined) return word(model, "unknown");
  const amount = number(model, rate / 1e6, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
  return word(model, "per_hour", { amount });
}

// A state is told by its text and by the shape of its mark, never by colour alone.
const MARKS = { good: "✓", busy: "◐", waiting: "○", bad: "✕", still: "■", live: "●", unknown: "?" };
const KINDS = {
  running: "live", ready: "good", succeeded: "good", queued: "waiting", waiting: "waiting", starting: "busy",
  stopping: "busy", degraded: "busy", failed: "bad", stopped: "still", idle: "waiting", free: "waiting",
};
/** A chip for a state; `setChip` changes it. */
function chip() {
  const node = h("span", { class: "dure-chip" }, h("span", { class: "dure-mark", "aria-hidden": "true" }), h("span"));
  node.hidden = true;
  return node;
}
function setChip(node, state, label) {
  const kind = KINDS[state] ?? "unknown";
  put(node, "data-kind", kind);
  text(node.firstChild, MARKS[kind]);
  text(node.lastChild, label ?? state);
  show(node, Boolean(state));
}

/** A button. */
function button(label, action, options = {}) {
  return h("button", { type: "button", class: options.quiet ? "dure-quiet" : null, onclick: action }, label);
}

const NOT_SO_SOON = 500;
/**
 * A button that acts only on a second click, which must come within five seconds. The second half of a double click, a
 * key that is held down and whatever comes in the first half second are no second click.
 */
function sureButton(label, sure, action, options = {}) {
  let timer = null;
  let armed = 0;
  const calm = () => {
    clearTimeout(timer);
    timer = null;
    text(node, label);
    put(node, "data-sure", null);
  };
  const node = button(label, (event) => {
    if (timer !== null) {
      if (event.detail > 1 || Date.now() - armed < NOT_SO_SOON) return;
      calm();
      action();
      return;
    }
    armed = Date.now();
    text(node, sure);
    put(node, "data-sure", "yes");
    timer = setTimeout(calm, 5000);
  }, { quiet: true, ...options });
  node.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
  node.addEventListener("blur", () => timer !== null && calm());
  return node;
}

/** A label above its control, with a place for help and for what is wrong with the value. */
function field(label, control, help = "") {
  control.id = control.id || newId();
  const wrong = h("span", { class: "dure-wrong", id: newId(), role: "alert" });
  wrong.hidden = true;
  const advice = h("span", { class: "dure-help", id: newId() }, help);
  advice.hidden = !help;
  control.setAttribute("aria-describedby", `${advice.id} ${wrong.id}`);
  const name = h("label", { for: control.id }, label);
  const box = control.type === "checkbox";
  const node = h("div", { class: box ? "dure-field dure-check" : "dure-field" }, box ? [control, name] : [name, control], advice, wrong);
  const say = (sentence) => {
    text(wrong, sentence);
    show(wrong, Boolean(sentence));
    put(control, "aria-invalid", sentence ? "true" : null);
  };
  const hint = (sentence) => {
    text(advice, sentence);
    show(advice, Boolean(sentence));
  };
  return { node, control, say, hint };
}

/**
 * Make the children of `parent` match `items` without rebuilding: one node for each key, made once by `make(item)`
 * and changed by `patch(node, item)`. Order follows `items`; a focused node is moved only where it must be. `head` is
 * a child that stays first, as a table's head.
 */
function keyed(parent, items, key, make, patch, head = null) {
  const kept = (parent.dureNodes ??= new Map());
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const [name, node] of [...kept]) {
    if (!wanted.has(name)) {
      node.remove();
      kept.delete(name);
    }
  }
  let before = head;
  for (const item of items) {
    const name = String(key(item));
    let node = kept.get(name);
    if (!node) {
      node = make(item);
      kept.set(name, node);
    }
    const place = before ? before.nextSibling : parent.firstChild;
    if (node !== place) parent.insertBefore(node, place);
    before = node;
    patch(node, item);
  }
}

/** A definition list's row: a term and a value node that can be patched. */
function fact(label) {
  const value = h("dd");
  return { node: h("div", { class: "dure-fact" }, h("dt", {}, label), value), value };
}

/**
 * The frame of a widget in `el`: title, a place for a problem, one for changes of state that are read aloud, and a
 * body. `say(sentence)` announces, and only what is new. `closing` collects what clean-up has to call. `gone()` says
 * whether the kernel that made the widget is there no more; then every control is disabled and a sentence says so.
 */
function frame(model, el, title) {
  const heading = h("h3", { class: "dure-title", id: newId() }, title);
  const aside = h("fieldset", { class: "dure-aside", role: "presentation" });
  const working = h("span", { class: "dure-working", "aria-hidden": "true" }, word(model, "working"));
  const kernel = h("div", { class: "dure-problem dure-kernel", role: "alert" });
  const what = h("strong");
  const next = h("span");
  const problem = h("div", { class: "dure-problem", role: "alert" }, what, " ", next);
  const spoken = h("div", { class: "dure-spoken", role: "status", "aria-live": "polite" });
  const body = h("fieldset", { class: "dure-body", role: "presentation" });
  const root = h(
    "section",
    { class: "dure", lang: model.get("language"), "aria-labelledby": heading.id, "data-lm-suppress-shortcuts": "true" },
    h("header", { class: "dure-head" }, heading, working, aside), kernel, problem, body, spoken,
  );
  const gone = () => Boolean(root.dataset.gone);
  const patch = () => {
    const error = model.get("problem");
    text(what, error ? error.message : "");
    text(next, error ? error.next_step : "");
    show(problem, Boolean(error));
    const busy = gone() ? "" : busyWith(model);
    put(root, "data-busy", busy || null);
    put(root, "aria-busy", busy ? "true" : null);
    show(working, Boolean(busy));
    text(kernel, gone() ? word(model, "gone") : root.dataset.silent ? word(model, "silent") : "");
    show(kernel, kernel.textContent !== "");
    for (const part of [aside, body]) able(part, !gone());
  };
  let [own, closed] = [null, false];
  const watch = () => {
    const dead = own.comm_live === false;
    if (dead === gone()) return;
    put(root, "data-gone", dead ? "yes" : null);
    if (dead) setPending(null);
    patch();
    root.dispatchEvent(new Event("dure-gone"));
  };
  // What we are given is not the model itself; its manager has it, which is told when its kernel's comm is dead.
  const find = async () => {
    own = (await model.widget_manager?.get_model(model.get("own"))) ?? null;
    if (!own || closed) return;
    own.on("comm_live_update", watch);
    watch();
  };
  find().catch((error) => console.warn("Whether the kernel is there is only seen by its silence.", error));
  root.addEventListener("dure-silent", patch);
  const answered = (message) => {
    if (pending && message?.answered === pending.verb && message.id === pending.id) setPending(null);
  };
  patch();
  el.append(root);
  const closing = [listen(model, "change:problem", patch), onBusy(model, patch), listen(model, "msg:custom", answered), () => own?.off("comm_live_update", watch), () => root.remove(), () => (closed = true)];
  return { root, heading, aside, body, closing, gone, say: (sentence) => text(spoken, sentence), close: () => closing.forEach((end) => end()) };
}
