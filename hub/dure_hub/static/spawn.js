// Keeps what the cards say fresh by one small question, and the offered times within the chosen profile's bounds.
import { ask, every } from "./poll.js";
import { showTimes } from "./times.js";

const form = document.getElementById("spawn");
const lifetime = document.getElementById("lifetime");
const note = document.getElementById("lifetime-note");
const summary = document.getElementById("summary");
const numbers = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });
const words = form?.dataset ?? {};
const show = (value) => (value === null || value === undefined ? words.unknown : numbers.format(value));

function fill(text, facts) {
  return text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

function chosen() {
  return form.querySelector("input[name=profile]:checked");
}

function bound() {
  const picked = chosen();
  if (!picked) return;
  const longest = Number(picked.dataset.longest);
  for (const option of lifetime.options) option.disabled = option.hidden = Number(option.value) > longest;
  if (!("own" in lifetime.dataset)) lifetime.value = picked.dataset.default;
  if (!lifetime.selectedOptions[0] || lifetime.selectedOptions[0].disabled) {
    lifetime.value = [...lifetime.options].filter((o) => !o.disabled).at(-1)?.value;
  }
  if (note.textContent !== picked.dataset.note) note.textContent = picked.dataset.note;
  note.hidden = !note.textContent;
}

function showImages() {
  // What is hidden is not sent either: a profile's own image goes before the list, and most let nobody type one.
  const picked = chosen();
  if (!picked) return;
  for (const [id, shown] of [["image-field", !("image" in picked.dataset)], ["own-image-field", "anyImage" in picked.dataset]]) {
    const field = document.getElementById(id);
    if (!field) continue;
    field.hidden = !shown;
    for (const input of field.querySelectorAll("input, select")) input.disabled = !shown;
  }
}

function put(node, ...parts) {
  const made = document.createElement("div");
  made.append(...parts);
  showTimes(made);
  if (node.innerHTML !== made.innerHTML) node.replaceChildren(...made.childNodes);
}

function start(offer) {
  if (offer.refusal) return null;
  if (offer.starts_now) {
    const now = document.createElement("strong");
    now.textContent = words.now;
    return [now];
  }
  if (!offer.expected_start) return [words.unknown];
  const time = document.createElement("time");
  time.dateTime = offer.expected_start;
  time.setAttribute("data-when", "");
  return [`${words.latest} `, time];
}

function left(offer) {
  if (!offer.hours_left.length) return [words.noLimit];
  return offer.hours_left.map((one) => {
    const node = document.createElement("span");
    const text = words[`${one.left_after < 0 ? "over" : "left"}${one.kind === "team" ? "Team" : "User"}`];
    node.textContent = fill(text, { name: one.name, left: show(Math.abs(one.left_after)), limit: show(one.limit) });
    return node;
  });
}

function update(offer) {
  const card = form.querySelector(`[data-profile="${CSS.escape(offer.name)}"]`);
  if (!card) return;
  const free = offer.free === null ? words.unknown : fill(words.free, { free: show(offer.free), total: show(offer.total) });
  put(card.querySelector("[data-free-now]"), free);
  const input = card.querySelector("input[name=profile]");
  input.dataset.longest = offer.max_lifetime_s;
  input.dataset.default = offer.default_lifetime_s;
  input.dataset.note = offer.lifetime_note?.[document.documentElement.lang] ?? offer.lifetime_note?.en ?? "";
  const begins = start(offer);
  if (begins) put(card.querySelector("[data-start]"), ...begins);
  const quota = card.querySelector("[data-left]");
  if (quota.dataset.counted === "yes") put(quota, ...left(offer));
  const refusal = card.querySelector("[data-refusal]");
  refusal.hidden = !offer.refusal;
  if (offer.refusal) {
    put(refusal, offer.refusal[document.documentElement.lang] ?? offer.refusal.en);
    put(card.querySelector("[data-start]"), words.never);
  }
}

function sum() {
  const card = chosen()?.closest("[data-profile]");
  if (!card) return;
  const at = card.querySelector("[data-start]").textContent.trim();
  const place = card.dataset.place ? `, ${card.dataset.place}` : "";
  const text = `${card.dataset.profile} · ${words.starts}: ${at}${place}`;
  if (summary.textContent !== text) summary.textContent = text;
}

async function look() {
  const query = new URLSearchParams();
  for (const name of ["team", "lifetime_s"]) {
    const value = form.elements[name]?.value;
    if (value) query.set(name, value);
  }
  const project = form.elements.project;
  if (project?.value && project.checkValidity()) query.set("project", project.value);
  try {
    const offers = await ask(`${words.api}/profiles/offers?${query}`);
    if (!Array.isArray(offers)) return;
    for (const offer of offers) {
      const card = form.querySelector(`[data-profile="${CSS.escape(offer.name)}"]`);
      if (card) card.dataset.place = offer.position ? fill(words.place, { position: show(offer.position) }) : "";
      update(offer);
    }
    bound();
    sum();
  } catch {
    // What is on the page stays; the next turn asks again, and the form is checked when it is sent.
  }
}

if (form) {
  form.addEventListener("change", (event) => {
    if (event.target === lifetime) lifetime.dataset.own = "";
    bound();
    showImages();
    sum();
    if (event.target.name !== "profile") look();
  });
  form.addEventListener("submit", () => {
    // Not disabled at once: the browser still collects the form.
    setTimeout(() => form.querySelector("button[type=submit]").setAttribute("disabled", ""), 0);
  });
  window.addEventListener("pageshow", () => form.querySelector("button[type=submit]").removeAttribute("disabled"));
  bound();
  showImages();
  sum();
  every(12000, look);
}
