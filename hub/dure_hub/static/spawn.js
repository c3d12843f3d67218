// Keeps the free counts fresh and the offered times within the chosen profile's bounds.
import { ask, every } from "./poll.js";

const form = document.getElementById("spawn");
const lifetime = document.getElementById("lifetime");

function fill(text, facts) {
  return text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

function bound() {
  const chosen = form.querySelector("input[name=profile]:checked");
  if (!chosen) return;
  const longest = Number(chosen.dataset.longest);
  for (const option of lifetime.options) option.disabled = option.hidden = Number(option.value) > longest;
  if (lifetime.selectedOptions[0]?.disabled) lifetime.value = [...lifetime.options].filter((o) => !o.disabled).at(-1)?.value;
}

if (form) {
  const numbers = new Intl.NumberFormat(document.documentElement.lang);
  const show = (value) => (value === null || value === undefined ? form.dataset.unknown : numbers.format(value));
  form.addEventListener("change", bound);
  form.addEventListener("submit", () => {
    // Not disabled at once: the browser still collects the form.
    setTimeout(() => form.querySelector("button[type=submit]").setAttribute("disabled", ""), 0);
  });
  window.addEventListener("pageshow", () => form.querySelector("button[type=submit]").removeAttribute("disabled"));
  bound();
  every(10000, async () => {
    try {
      const profiles = await ask(`${form.dataset.api}/profiles?purpose=notebook`);
      if (!Array.isArray(profiles)) return;
      for (const profile of profiles) {
        const card = form.querySelector(`[data-profile="${CSS.escape(profile.name)}"]`);
        if (!card) continue;
        const text = profile.free === null ? form.dataset.unknown : fill(form.dataset.free, { free: show(profile.free), total: show(profile.total) });
        const node = card.querySelector("[data-free-now]");
        if (node.textContent !== text) node.textContent = text;
        card.querySelector("[data-wait]").hidden = profile.free !== 0;
      }
    } catch {
      // The counts on the page stay; the next turn asks again, and the form is checked when it is sent.
    }
  });
}
