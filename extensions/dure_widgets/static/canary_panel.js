// The canary panel: champion and canary side by side, and the steps of a rollout.

const TO_SEND = 100;
const BATCH = 10;

function replicaCard(model, role) {
  const status = chip();
  const version = h("strong", { class: "dure-version" });
  const facts = Object.fromEntries(["weight", "requests", "errors", "p50", "p95"].map((name) => [name, fact(word(model, name))]));
  const bar = h("div", { class: "dure-weight", "aria-hidden": "true" }, h("div"));
  const why = h("p", { class: "dure-why" });
  const none = h("p", { class: "dure-muted" }, word(model, "no_canary"));
  const there = h("div", { class: "dure-block" }, h("div", { class: "dure-row" }, version, status), bar,
    h("dl", { class: "dure-facts" }, Object.values(facts).map((one) => one.node)), why);
  const node = h("div", { class: "dure-replica", role: "group", "data-role": role, "aria-label": word(model, role) }, h("h4", {}, word(model, role)), there, none);
  const latency = (value) => (value === null || value === undefined ? word(model, "unknown") : word(model, "ms", { value: number(model, value, { maximumSignificantDigits: 3 }) }));
  return { node, patch: (one) => {
    show(there, Boolean(one));
    show(none, !one);
    put(node, "data-version", one?.version);
    if (!one) return;
    text(version, word(model, "version_n", { version: one.version }));
    setChip(status, one.phase, word(model, one.phase));
    text(facts.weight.value, share(model, one.percent / 100));
    bar.firstChild.style.width = `${one.percent}%`;
    text(facts.requests.value, number(model, one.requests, {}));
    const rate = one.errors !== null && one.requests ? number(model, one.errors / one.requests, { style: "percent", maximumFractionDigits: 1 }) : null;
    text(facts.errors.value, rate === null ? number(model, one.errors, {}) : word(model, "error_share", { count: number(model, one.errors, {}), share: rate }));
    text(facts.p50.value, latency(one.latency_p50_ms));
    text(facts.p95.value, latency(one.latency_p95_ms));
    text(why, one.phase === "ready" ? "" : one.reason);
    show(why, why.textContent !== "");
  } };
}

/** Pick a version, and for a canary its share. */
function rolloutForm(model) {
  const version = field(word(model, "version"), h("select"));
  const percent = field(word(model, "percent"), h("input", { type: "number", min: 1, max: 100, step: 1, value: 10, inputmode: "numeric" }));
  const go = h("button", { type: "submit" });
  const payer = payerFields(model, model.get("state").chosen?.payer ?? {}, () => {});
  const paying = h("div", { class: "dure-fields" }, payer.nodes);
  let verb = "deploy";
  const node = h("form", { class: "dure-row dure-end", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const deploys = verb === "deploy";
    if (deploys) payer.keep();
    ask(model, verb, { version: version.control.value, percent: percent.control.value, ...(deploys ? payer.values() : {}) });
  } }, paying, version.node, percent.node, go);
  const refused = () => {
    const wrong = model.get("state").wrong ?? {};
    payer.say(wrong);
    if (Object.keys(wrong).length) paying.querySelector("[aria-invalid=true]")?.focus();
  };
  return { node, refused, patch: (versions, wanted, label, second = false) => {
    verb = wanted;
    put(go, "class", second ? "dure-quiet" : null);
    show(node, versions.length > 0);
    const before = version.control.value;
    keyed(version.control, versions, (one) => one, (one) => h("option", { value: one }, String(one)), () => {});
    if (!before && versions.length) version.control.value = String(versions[0]);
    show(percent.node, wanted === "canary");
    show(paying, wanted === "deploy");
    payer.patch(model.get("state").payer);
    text(go, label);
  } };
}

function sender(model, gone) {
  let awaited = null;
  const go = button(word(model, "send", { count: TO_SEND }), () => {
    if (left) return;
    left = TO_SEND;
    next(true);
  }, { quiet: true });
  const said = h("span", { class: "dure-sent" });
  const node = h("div", { class: "dure-row" }, go, said);
  let left = 0;
  const next = (first) => {
    const count = Math.min(BATCH, left);
    left -= count;
    awaited = askAside(model, "send", { count, first });
    patch();
  };
  const patch = () => {
    const { sendable, endpoint, sent } = model.get("state");
    if (gone()) left = 0;
    show(node, Boolean(sendable && endpoint));
    text(go, left ? word(model, "sending", { left }) : word(model, "send", { count: TO_SEND }));
    const parts = Object.entries(sent ?? {}).map(([who, count]) => (who === "failed" ? word(model, "not_answered", { count }) : word(model, "by_version", { version: who, count })));
    text(said, parts.length ? word(model, "answered_by", { who: parts.join(", ") }) : "");
  };
  const heard = (message) => {
    if (message?.answered !== "send" || message.id !== awaited) return;
    if (message.failed) left = 0; // the sentence above says why
    if (left) next(false);
    patch();
  };
  return { node, patch, heard };
}

function render({ model, el }) {
  const state = () => model.get("state");
  const box = frame(model, el, word(model, "title", { name: state().name }));
  const status = chip();
  box.aside.append(status);
  const empty = h("p", { class: "dure-empty" });
  const champion = replicaCard(model, "champion");
  const canary = replicaCard(model, "canary");
  const pair = h("div", { class: "dure-halves" }, champion.node, canary.node);
  const why = h("p", { class: "dure-why" });
  const form = rolloutForm(model);
  const nothing = h("p", { class: "dure-muted" });
  const promote = button(word(model, "promote"), () => ask(model, "promote"));
  const rollback = sureButton(word(model, "rollback"), word(model, "rollback_sure"), () => ask(model, "rollback"));
  const steps = h("div", { class: "dure-row" }, promote, rollback);
  const end = sureButton(word(model, "end"), word(model, "end_sure"), () => ask(model, "end"));
  const ending = h("div", { class: "dure-row" }, end);
  const send = sender(model, box.gone);
  const served = h("p", { class: "dure-muted" });
  box.body.append(empty, served, pair, why, form.node, nothing, steps, ending, send.node);
  const which = (one, now) => {
    const names = { model: one?.model, owner: one?.owner, wanted: now.wanted };
    const other = one && now.wanted !== undefined && one.model !== now.wanted;
    put(served, "data-other", other ? "yes" : null);
    text(served, one?.model ? [word(model, other ? "other_model" : "serves", names), one.mine === false ? word(model, "not_mine", names) : ""].join(" ").trim() : "");
    show(served, served.textContent !== "");
  };
  /** What can be done now, and where nothing can, why. */
  const choices = (now, one) => {
    if (!now.known) return { versions: [] };
    if (!one) return { versions: now.versions, verb: "deploy", label: "deploy" };
    if (one.mine === false) return { versions: [] };
    if (one.canary) return { versions: [one.canary.version], verb: "canary", label: "change", second: true };
    if (one.champion?.phase !== "ready") return { versions: [], none: one.state === "failed" ? "" : word(model, "champion_first") };
    const versions = now.versions.filter((version) => version !== one.champion.version);
    return versions.length ? { versions, verb: "canary", label: "start" } : { versions, none: word(model, "no_other", { model: now.model }) };
  };

  let told = null;
  const patch = () => {
    const now = state();
    const one = now.endpoint;
    const there = Boolean(one) && one.state !== "stopped";
    setChip(status, one?.state, one && word(model, one.state));
    show(pair, there);
    show(empty, !there);
    which(there ? one : null, now);
    text(empty, !now.known ? word(model, "not_known") : now.versions.length ? word(model, "empty") : word(model, "no_versions", { model: now.model }));
    champion.patch(there ? one.champion : null);
    canary.patch(there ? one.canary : null);
    text(why, one && one.state !== "ready" ? one.reason : "");
    show(why, why.textContent !== "");
    const can = choices(now, there ? one : null);
    form.patch(can.versions, can.verb ?? "deploy", can.label ? word(model, can.label) : "", can.second);
    text(nothing, can.none ?? "");
    show(nothing, nothing.textContent !== "");
    show(steps, there && one.mine !== false && Boolean(one.canary));
    able(promote, there && one.canary?.phase === "ready");
    show(ending, there && one.mine !== false && one.state === "failed" && !one.canary);
    send.patch();
    const spoken = one ? [one.state, one.champion?.version, one.canary?.version, one.canary?.phase].join() : "";
    if (one && told !== null && told !== spoken)
      box.say([word(model, "announce", { name: one.name, state: word(model, one.state) }), ...[["champion", one.champion], ["canary", one.canary]].filter(([, replica]) => replica).map(([role, replica]) => `${word(model, role)}: ${word(model, "version_n", { version: replica.version })}, ${word(model, replica.phase)}`)].join("; "));
    told = spoken;
  };
  patch();
  box.root.addEventListener("dure-gone", patch);
  box.closing.push(listen(model, "change:state", patch), listen(model, "msg:custom", send.heard), listen(model, "msg:custom", (message) => message?.answered === "deploy" && form.refused()), live(model, box.root, 2).stop);
  return box.close;
}

export default { render };
