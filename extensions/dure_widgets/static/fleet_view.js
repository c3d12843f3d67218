// The fleet: a card for each device, the machine's totals, and every holder with what was promised and what is used.

/** A bar with a label and its figures. Where the value is not known the bar is hatched and says so. */
function meter(label) {
  const figures = h("span");
  const promised = h("i", { class: "dure-promised" });
  const used = h("i");
  const bar = h("div", { class: "dure-bar", role: "img" }, promised, used);
  const node = h("div", { class: "dure-meter" }, h("div", { class: "dure-meter-head" }, h("span", { class: "dure-muted" }, label), figures), bar);
  const width = (part, value, total) => {
    const known = value !== null && value !== undefined && total;
    part.style.width = known ? `${Math.min(100, (value / total) * 100)}%` : "0";
    return Boolean(known);
  };
  return { node, patch: (value, total, said, reserved = null) => {
    text(figures, said);
    const known = width(used, value, total);
    width(promised, reserved, total);
    put(bar, "data-unknown", known ? null : "yes");
    put(bar, "data-full", known && value / total >= 0.9 ? "yes" : null);
    put(bar, "aria-label", `${label}: ${said}`);
  } };
}

const known = (value) => value !== null && value !== undefined;

function amount(model, used, total, shown) {
  if (!known(total)) return known(used) ? word(model, "of", { used: shown(used), total: shown(total) }) : word(model, "unknown");
  return known(used) ? word(model, "of", { used: shown(used), total: shown(total) }) : word(model, "use_unknown", { total: shown(total) });
}

/** As many cores, in words. */
const inCores = (model, count, digits) =>
  word(model, count === 1 ? "core" : "cores", { count: number(model, count, { maximumFractionDigits: digits }) });

/** Who holds a piece, for what, since and until when. */
function holding(model) {
  const who = h("strong");
  const what = h("span");
  const when = h("span", { class: "dure-muted" });
  const node = h("div", { class: "dure-person-who" }, h("span", {}, who, " ", what), when);
  return { node, patch: (one) => {
    text(who, one.owner);
    const subject = one.subject.split(/[:/]/).pop();
    text(what, `${word(model, one.purpose)} ${subject} · ${one.profile}`);
    const until = one.until ? `${word(model, "until")} ${moment(model, one.until)}` : word(model, "no_end");
    text(when, `${word(model, "since")} ${moment(model, one.since)} · ${until}`);
  } };
}

function deviceCard(model) {
  const name = h("h4");
  const uuid = h("span", { class: "dure-help" });
  const bar = meter(word(model, "memory"));
  const busy = meter(word(model, "utilisation"));
  const temperature = fact(word(model, "temperature"));
  const power = fact(word(model, "power"));
  const holders = h("div");
  const health = h("p", { class: "dure-wrong" });
  const closing = h("p", { class: "dure-help" });
  const outsiders = h("p", { class: "dure-help" });
  const free = chip();
  const node = h("li", { class: "dure-device" },
    h("div", { class: "dure-device-head" }, h("div", {}, name, uuid), free), health, closing, outsiders, bar.node, busy.node,
    h("dl", { class: "dure-facts" }, temperature.node, power.node), holders);
  node.patch = (one) => {
    text(name, one.name);
    text(uuid, one.uuid);
    text(health, one.health?.[model.get("language")] ?? one.health?.en ?? "");
    show(health, Boolean(one.health));
    const state = one.state ?? "healthy";
    const closed = state !== "healthy";
    const until = one.until ? word(model, state === "cordoned" ? "back_by" : "clear_by", { time: moment(model, one.until) }) : "";
    text(closing, [one.since ? `${word(model, "since")} ${moment(model, one.since)}` : "", until, one.message ?? ""].filter(Boolean).join(" · "));
    show(closing, closed);
    const others = (one.outsiders ?? []).map((it) => `${it.name} (${it.user ?? "?"}, PID ${it.pid}${known(it.memory_mb) ? `, ${memory(model, it.memory_mb)}` : ""})`);
    text(outsiders, others.join(", "));
    show(outsiders, Boolean(others.length));
    bar.patch(one.memory_used_mb, one.memory_mb, amount(model, one.memory_used_mb, one.memory_mb, (mib) => memory(model, mib)));
    busy.patch(one.utilisation, 1, share(model, one.utilisation));
    text(temperature.value, known(one.temperature_c) ? number(model, one.temperature_c, { style: "unit", unit: "celsius", maximumFractionDigits: 0 }) : word(model, "unknown"));
    text(power.value, known(one.power_w) ? `${number(model, one.power_w, { maximumFractionDigits: 0 })} W` : word(model, "unknown"));
    if (closed) setChip(free, state === "unhealthy" ? "failed" : "stopping", word(model, `state_${state}`));
    else setChip(free, one.holders.length ? "" : "free", word(model, "free"));
    keyed(holders, one.holders, (held) => held.lease, () => {
      const made = holding(model);
      put(made.node, "class", "dure-holding");
      made.node.patch = made.patch;
      return made.node;
    }, (row, held) => row.patch(held));
  };
  return node;
}

function personRow(model) {
  const who = holding(model);
  const cpu = meter(word(model, "cpu"));
  const room = meter(word(model, "memory"));
  const node = h("li", { class: "dure-person" }, who.node, cpu.node, room.node);
  const count = (value) => number(model, value, { maximumFractionDigits: 2 });
  // The bar is as long as the promise, or as the use where that is more: on a large machine both would be slivers.
  const whole = (used, promised) => Math.max(used ?? 0, promised);
  node.patch = (one) => {
    who.patch(one);
    const said = (used, shown, promised) =>
      known(used) ? word(model, "used_promised", { used: shown(used), promised }) : word(model, "unknown_promised", { promised });
    const size = (mib) => memory(model, mib);
    cpu.patch(one.cpu_used, whole(one.cpu_used, one.cpu_cores), said(one.cpu_used, count, inCores(model, one.cpu_cores, 2)), one.cpu_cores);
    room.patch(one.memory_used_mb, whole(one.memory_used_mb, one.memory_mb), said(one.memory_used_mb, size, size(one.memory_mb)), one.memory_mb);
  };
  return node;
}

function render({ model, el }) {
  const box = frame(model, el, word(model, "title"));
  const simulated = h("span", { class: "dure-tag" }, word(model, "simulated"));
  const seen = h("span", { class: "dure-muted" });
  box.aside.append(simulated, seen);
  const waiting = h("p", { class: "dure-empty", role: "status" }, word(model, "waiting"));
  const without = h("div", { class: "dure-empty" }, h("strong", {}, word(model, "no_gpu")), " ", h("span"));
  const devices = h("ul", { class: "dure-devices" });
  const cpu = meter(word(model, "cpu"));
  const room = meter(word(model, "memory"));
  const totals = h("section", { class: "dure-body" }, h("h4", {}, word(model, "machine")), h("div", { class: "dure-totals" }, cpu.node, room.node));
  const nobody = h("p", { class: "dure-muted" }, word(model, "nobody"));
  const people = h("ul", { class: "dure-people" });
  const key = (name) => h("span", { class: "dure-key" }, h("i", { class: name === "promised" ? "dure-promised" : null }), word(model, name));
  const holders = h("section", { class: "dure-body" },
    h("div", { class: "dure-row" }, h("h4", {}, word(model, "holders")), h("span", { class: "dure-aside" }, key("used"), key("promised"))), nobody, people);
  for (const list of [devices, people]) put(list, "role", "list");
  devices.style.listStyle = people.style.listStyle = "none";
  box.body.append(waiting, without, devices, totals, holders);
  const patch = () => {
    const { fleet } = model.get("state");
    for (const node of [simulated, without, devices, totals, holders]) show(node, Boolean(fleet));
    show(waiting, !fleet && !model.get("problem"));
    if (!fleet) return;
    const language = model.get("language");
    show(simulated, fleet.simulated);
    text(seen, word(model, "seen", { time: new Date(fleet.at).toLocaleTimeString(language) }));
    show(without, !fleet.devices.length);
    show(devices, fleet.devices.length);
    text(without.lastChild, fleet.why_no_gpu?.[language] ?? fleet.why_no_gpu?.en ?? "");
    keyed(devices, fleet.devices, (one) => one.uuid, () => deviceCard(model), (card, one) => card.patch(one));
    const total = inCores(model, fleet.cpu_cores, 1);
    const used = number(model, fleet.cpu_used, { maximumFractionDigits: 1 });
    cpu.patch(fleet.cpu_used, fleet.cpu_cores, known(fleet.cpu_used) ? word(model, "cores_of", { used, total }) : word(model, "use_unknown", { total }));
    room.patch(fleet.memory_used_mb, fleet.memory_mb, amount(model, fleet.memory_used_mb, fleet.memory_mb, (mib) => memory(model, mib)));
    show(nobody, !fleet.holders.length);
    keyed(people, fleet.holders, (one) => one.lease, () => personRow(model), (row, one) => row.patch(one));
  };
  box.closing.push(listen(model, "change:state change:problem", patch));
  patch();
  box.closing.push(live(model, box.root, 2).stop);
  return box.close;
}

export default { render };
