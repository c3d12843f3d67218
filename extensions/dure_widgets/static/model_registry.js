// The registry: a table of versions with their lineage, Register for the job at hand, aliases.

const SHORT = new Set(["git_commit", "snapshot", "run"]);
const METRICS_SHOWN = 3;

function versionRows(model) {
  // One <tbody> a version: its row, and below it the lineage that can be opened.
  const make = (one) => {
    const detail = h("tr", { id: newId() }, h("td", { colspan: 6, class: "dure-wide" }, h("dl", { class: "dure-facts" })));
    detail.hidden = true;
    const open = button(word(model, "details"), () => {
      detail.hidden = !detail.hidden;
      put(open, "aria-expanded", String(!detail.hidden));
    }, { quiet: true });
    put(open, "aria-expanded", "false");
    put(open, "aria-controls", detail.id);
    put(open, "aria-label", word(model, "lineage", { version: one.version }));
    const row = h("tr", {},
      h("th", { scope: "row" }, String(one.version)), h("td", { class: "dure-tags" }), h("td", { class: "dure-wide" }), h("td"), h("td", {}, h("time")), h("td", {}, open));
    return h("tbody", { "data-version": one.version }, row, detail);
  };
  const patch = (node, one) => {
    const [row, detail] = node.children;
    const [, aliases, metrics, owner, created] = row.children;
    keyed(aliases, one.aliases.length ? one.aliases : ["–"], (name) => name,
      (name) => h("span", { class: one.aliases.length ? "dure-tag" : "dure-muted" }, name), () => {});
    const shown = Object.entries(one.metrics).slice(0, METRICS_SHOWN);
    text(metrics, shown.map(([name, value]) => `${name} ${number(model, value)}`).join(", ") || "–");
    text(owner, one.owner ?? word(model, "unknown"));
    setMoment(model, created.firstChild, one.created_at);
    keyed(detail.firstChild.firstChild, Object.entries(one.lineage), ([name]) => name,
      ([name, value]) => h("div", { class: "dure-fact" }, h("dt", {}, word(model, `tag_${name}`)),
        h("dd", { title: value }, SHORT.has(name) ? h("code", {}, value.slice(0, 12)) : value)), () => {});
  };
  return { make, patch };
}

function render({ model, el }) {
  const state = () => model.get("state");
  const box = frame(model, el, "");
  const rows = versionRows(model);
  const heads = ["version", "aliases", "metrics", "owner", "created"].map((name) => h("th", { scope: "col" }, word(model, name)));
  const table = h("table", {}, h("thead", {}, h("tr", {}, heads, h("th", { scope: "col" }, word(model, "details")))));
  const scroll = h("div", { class: "dure-scroll", tabindex: 0, role: "region" }, table);
  const empty = h("p", { class: "dure-empty" });

  const job = h("span");
  const hint = h("p", { class: "dure-help" });
  const name = field(word(model, "register_name"), h("input", { type: "text", spellcheck: "false", autocomplete: "off", value: state().model }));
  const register = h("button", { type: "submit" }, word(model, "register"));
  const registerForm = h("form", { class: "dure-block", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    if (!register.disabled) ask(model, "register", { name: name.control.value });
  } }, h("h4", {}, word(model, "register_title")), h("p", {}, job), h("div", { class: "dure-row dure-end" }, name.node, register), hint);

  const known = h("datalist", { id: newId() }, ["champion", "challenger"].map((value) => h("option", { value })));
  const alias = field(word(model, "alias"), h("input", { type: "text", list: known.id, spellcheck: "false", autocomplete: "off", value: "champion" }));
  const version = field(word(model, "version"), h("select"));
  const set = h("button", { type: "submit", class: "dure-quiet" }, word(model, "set_alias"));
  const aliasForm = h("form", { class: "dure-block", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    ask(model, "alias", { alias: alias.control.value, version: version.control.value });
  } }, h("h4", {}, word(model, "alias_title")), h("div", { class: "dure-row dure-end" }, alias.node, known, version.node, set));
  box.body.append(scroll, empty, h("div", { class: "dure-halves" }, registerForm, aliasForm));

  let doneBefore = JSON.stringify(state().done ?? null);
  const patch = () => {
    const now = state();
    text(box.heading, word(model, "title", { name: now.model }));
    put(scroll, "aria-label", word(model, "versions", { name: now.model }));
    const versions = now.versions ?? [];
    show(scroll, versions.length > 0);
    show(empty, !versions.length);
    text(empty, word(model, now.versions === null ? "not_known" : "empty"));
    keyed(table, versions, (one) => one.version, rows.make, rows.patch, table.tHead);
    keyed(version.control, versions, (one) => one.version, (one) => h("option", { value: one.version }, String(one.version)), () => {});
    show(aliasForm, versions.length > 0);
    const which = now.job;
    text(job, which ? word(model, "job_state", { name: which.name, state: which.state ? word(model, which.state) : word(model, "unknown") }) : word(model, "no_job"));
    const done = which && which.version !== null;
    able(register, Boolean(which) && which.state === "succeeded");
    text(hint, !which || (which.state === "succeeded" && !done) ? "" : done ? word(model, "is_version", { version: which.version }) : word(model, "not_yet"));
    show(hint, hint.textContent !== "");
    const said = JSON.stringify(now.done ?? null);
    if (said !== doneBefore && now.done)
      box.say(now.done.registered ? word(model, "registered", { version: now.done.registered }) : word(model, "alias_set", now.done));
    doneBefore = said;
  };
  patch();
  box.closing.push(listen(model, "change:state", patch), live(model, box.root, 4).stop);
  return box.close;
}

export default { render };
