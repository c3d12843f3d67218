// The launcher: a form from the entry's signature, profiles to pick from, a plan, Launch.

function describe(model, thing) {
  const gpus = thing.gpus
    ? word(model, "gpus", { count: thing.gpus, model: [thing.gpu_model ?? "GPU", thing.gpu_memory_mb ? memory(model, thing.gpu_memory_mb) : null].filter(Boolean).join(" ") })
    : null;
  return [gpus, word(model, "cores", { count: number(model, thing.cpu_cores) }), memory(model, thing.memory_mb)].filter(Boolean).join(" · ");
}

function parameterField(model, one, start) {
  const begun = start !== undefined; // given in code: sent as it is, also where nobody touches it
  const first = begun ? start : one.default;
  const threefold = one.kind === "bool" && (one.optional || one.required);
  const control =
    threefold ? h("select", {}, ["", "true", "false"].map((value) => h("option", { value }, value || "—")))
    : one.kind === "bool" ? h("input", { type: "checkbox" })
    : one.kind === "choice" ? h("select", {}, (one.required || one.optional ? [h("option", { value: "" }, "—")] : []), one.choices.map((choice) => h("option", { value: choice }, choice)))
    : one.kind === "int" ? h("input", { type: "number", step: 1, inputmode: "numeric" })
    : one.kind === "float" ? h("input", { type: "number", step: "any", inputmode: "decimal" })
    : h("input", { type: "text", spellcheck: "false", autocomplete: "off" });
  control.name = one.name;
  if (control.type === "checkbox") control.checked = String(first).toLowerCase() === "true";
  else if (threefold) control.value = String(first ?? "").toLowerCase();
  else if (first !== null && first !== undefined) control.value = String(first);
  const shown = one.kind === "str" ? JSON.stringify(one.default) : String(one.default);
  const help = one.required ? word(model, "required") : one.default === null ? word(model, "empty_is_none") : word(model, "default", { value: shown });
  const made = field(one.name, control, help);
  if (one.required) control.required = true;
  const value = () => (control.type === "checkbox" ? control.checked : control.value);
  const before = value();
  // What was not touched is left to the entry's own default, which the form may not even be able to show.
  return { ...made, one, value, touched: () => begun || one.required || value() !== before };
}

/** Rows of name and value that people add themselves. */
function freeRows(model) {
  const list = h("div", { class: "dure-body" });
  const rows = [];
  const add = (focus, called = "", worth = "") => {
    const name = field(word(model, "value_name"), h("input", { type: "text", spellcheck: "false", autocomplete: "off", value: called }));
    const value = field(word(model, "value"), h("input", { type: "text", spellcheck: "false", autocomplete: "off", value: worth }));
    const row = { name, value };
    const gone = button("✕", () => {
      rows.splice(rows.indexOf(row), 1);
      row.node.remove();
      more.focus();
    }, { quiet: true });
    put(gone, "aria-label", word(model, "remove_row"));
    row.node = h("div", { class: "dure-pair" }, name.node, value.node, gone);
    rows.push(row);
    list.append(row.node);
    if (focus) name.control.focus();
  };
  const more = button(word(model, "add"), () => add(true), { quiet: true });
  const node = h("fieldset", { class: "dure-body" }, h("legend", {}, word(model, "more")), h("p", { class: "dure-help" }, word(model, "more_help")), list, h("div", {}, more));
  return {
    node,
    values: () => rows.map((row) => [row.name.control.value, row.value.control.value]),
    say: (wrong) => rows.forEach((row, at) => row.name.say(wrong[`more.${at}`] ?? "")),
    add,
  };
}

function profileCards(model, picked, changed) {
  const group = newId();
  const empty = h("p", { class: "dure-muted" }, word(model, "profiles_unknown"));
  const cards = h("div", { class: "dure-cards" });
  const node = h("fieldset", {}, h("legend", {}, word(model, "profile")), empty, cards);
  const language = model.get("language");
  const make = (one) => {
    const radio = h("input", { type: "radio", name: group, value: one.name, id: newId(), onchange: () => changed(one.name) });
    radio.checked = one.name === picked();
    return h("label", { class: "dure-card", for: radio.id }, radio,
      h("span", { class: "dure-card-text" }, h("strong"), h("span", { class: "dure-muted" }), h("span", { class: "dure-muted" }), h("span", { class: "dure-free" })));
  };
  const patch = (card, one) => {
    const [title, what, cost, free] = card.lastChild.children;
    text(title, one.title?.[language] ?? one.title?.en ?? one.name);
    text(what, describe(model, one));
    text(cost, word(model, "price", { price: price(model, one.rate) }));
    const known = one.free !== null && one.total !== null;
    text(free, known ? word(model, "free", { free: one.free, total: one.total }) : word(model, "free_unknown"));
    put(card, "data-none", known && one.free === 0 ? "yes" : null);
  };
  return { node, patch: (profiles) => {
    show(empty, !profiles || !profiles.length);
    keyed(cards, profiles ?? [], (one) => one.name, make, patch);
  } };
}

function planBox(model) {
  const holds = fact(word(model, "holds"));
  const costs = fact(word(model, "costs"));
  const starts = fact(word(model, "starts"));
  const other = h("p", { class: "dure-muted" });
  const node = h("div", { class: "dure-plan" }, h("h4", {}, word(model, "plan")), h("dl", { class: "dure-facts" }, holds.node, costs.node, starts.node), other);
  const when = (plan) => {
    if (!plan) return word(model, "unknown");
    if (plan.starts_now) return word(model, "now");
    const time = plan.expected_start ? word(model, "at_latest", { time: moment(model, plan.expected_start) }) : word(model, "unknown");
    return plan.position ? `${time} · ${word(model, "position", { position: plan.position })}` : time;
  };
  return { node, patch: (plan, profile, processes) => {
    const what = plan ?? profile;
    const ranks = processes ? word(model, "processes_plan", { count: processes }) : word(model, "processes_auto");
    text(holds.value, what ? `${describe(model, what)} · ${ranks}` : word(model, "unknown"));
    text(costs.value, price(model, what ? what.rate : null));
    text(starts.value, when(plan));
    text(other, plan && !plan.starts_now && plan.next_best ? word(model, "next_best", { profile: plan.next_best }) : "");
    show(other, other.textContent !== "");
  } };
}

function render({ model, el }) {
  const state = () => model.get("state");
  const { chosen } = state();
  const box = frame(model, el, word(model, "title", { entry: state().entry ?? "" }));
  let profile = chosen.profile;
  const fields = (state().fields ?? []).map((one) => parameterField(model, one, chosen.parameters?.[one.name]));
  const more = state().free ? freeRows(model) : null;
  const inFields = new Set(fields.map((one) => one.one.name));
  const others = Object.entries(chosen.parameters ?? {}).filter(([name]) => !inFields.has(name));
  for (const [name, value] of more ? others : []) more.add(false, name, value);
  if (more && !fields.length && !others.length) more.add(false);
  const processes = field(word(model, "processes"), h("input", { type: "number", step: 1, min: 1, max: 64, inputmode: "numeric", value: chosen.processes }), word(model, "processes_help"));
  const name = field(word(model, "name"), h("input", { type: "text", spellcheck: "false", autocomplete: "off", value: chosen.name }), word(model, "name_help"));
  const payer = payerFields(model, chosen.payer ?? {}, () => askAside(model, "plan", { profile, ...payer.values() }));
  const plan = planBox(model);
  const cards = profileCards(model, () => profile, (picked) => {
    profile = picked;
    patch();
    askAside(model, "plan", { profile, ...payer.values() });
  });
  const badNumber = () => {
    // What a number field cannot read reaches nobody as a value, so it is refused here.
    let fine = true;
    for (const one of [...fields, { ...processes, one: { name: word(model, "processes") } }]) {
      const bad = one.control.validity.badInput;
      if (bad) one.say(word(model, "number_wrong", { name: one.one.name }));
      fine &&= !bad;
    }
    return !fine;
  };
  const focusWrong = () => box.root.querySelector("[aria-invalid=true]")?.focus();
  const launch = h("button", { type: "submit" }, word(model, "launch"));
  const launched = h("span", { class: "dure-chip", "data-kind": "good" }, h("span", { class: "dure-mark", "aria-hidden": "true" }, "✓"), h("span"));
  const form = h("form", { class: "dure-body", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    if (busyWith(model)) return;
    if (badNumber()) return focusWrong();
    payer.keep();
    ask(model, "launch", {
      profile,
      ...payer.values(),
      processes: processes.control.value,
      name: name.control.value,
      parameters: Object.fromEntries(fields.filter((one) => one.touched()).map((one) => [one.one.name, one.value()])),
      more: more ? more.values() : [],
    });
  } },
    h("fieldset", {}, h("legend", {}, word(model, "parameters")),
      fields.length ? h("div", { class: "dure-fields" }, fields.map((one) => one.node)) : more ? null : h("p", { class: "dure-muted" }, word(model, "no_parameters"))),
    more?.node,
    cards.node,
    h("fieldset", {}, h("legend", {}, word(model, "options")), h("div", { class: "dure-fields" }, payer.nodes, processes.node, name.node)),
    plan.node,
    h("div", { class: "dure-row" }, launch, launched),
  );
  form.classList.add("dure-launcher");
  box.body.append(form);

  const patch = () => {
    const now = state();
    cards.patch(now.profiles);
    payer.patch(now.payer);
    const fits = now.plan && now.plan.profile === profile ? now.plan : null;
    plan.patch(fits, (now.profiles ?? []).find((one) => one.name === profile), processes.control.value);
    const busy = busyWith(model) === "launch" && !box.gone();
    text(launch, word(model, busy ? "launching" : "launch"));
    text(launched.lastChild, now.launched ? word(model, "launched", { name: now.launched.name }) : "");
    show(launched, Boolean(now.launched) && !busy);
  };
  const mark = () => {
    const wrong = state().wrong ?? {};
    for (const one of fields) one.say(wrong[one.one.name] ?? "");
    processes.say(wrong.processes ?? "");
    name.say(wrong.name ?? "");
    payer.say(wrong);
    more?.say(wrong);
    return wrong;
  };
  const refused = () => {
    const wrong = mark();
    if (Object.keys(wrong).length) {
      box.say(word(model, "correct"));
      focusWrong();
    }
  };
  let launchedBefore = state().launched?.name;
  const changed = () => {
    patch();
    const now = state();
    if (now.launched && now.launched.name !== launchedBefore) {
      launchedBefore = now.launched.name;
      box.say(word(model, "launched", { name: launchedBefore }));
    }
  };
  processes.control.addEventListener("input", patch);
  box.closing.push(listen(model, "change:state", changed), onBusy(model, changed));
  box.root.addEventListener("dure-gone", patch);
  box.closing.push(listen(model, "msg:custom", (message) => message?.answered === "launch" && refused()));
  patch();
  mark();
  box.closing.push(live(model, box.root, 5, () => ({ profile, ...payer.values() })).stop);
  return box.close;
}

export default { render };
