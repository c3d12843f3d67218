// Follows one server: on to it when it runs, a fresh page when its phase changes, new numbers in between.
import { ask, every } from "./poll.js";
import { showTimes } from "./times.js";

const box = document.getElementById("waiting");
const lost = document.getElementById("lost");
const language = document.documentElement.lang;

function say(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function place(ticket) {
  const shown = ticket.position === null ? box.dataset.unknown : new Intl.NumberFormat(language).format(ticket.position);
  say(box.querySelector("[data-position]"), shown);
  const expected = box.querySelector("[data-expected]");
  if (!expected) return;
  if (!ticket.expected_start) return say(expected, box.dataset.unknown);
  if (expected.querySelector("time")?.dateTime === ticket.expected_start) return;
  const node = document.createElement("time");
  node.dateTime = ticket.expected_start;
  node.setAttribute("data-when", "");
  expected.replaceChildren(node);
  showTimes(expected);
}

function why(ticket) {
  const line = document.getElementById("why");
  if (!line) return;
  line.hidden = !ticket.why;
  if (!ticket.why) return;
  say(line.querySelector("[data-kind]"), (ticket.waits_for && line.getAttribute(`data-${ticket.waits_for.replace("_", "-")}`)) || "");
  say(line.querySelector("[data-sentence]"), ticket.why[language] ?? ticket.why.en);
}

function instead(server) {
  const notice = document.getElementById("instead");
  if (!notice) return;
  const free = server.ticket.next_best;
  notice.hidden = !free || free === server.profile;
  if (notice.hidden) return;
  notice.querySelector("input[name=profile]").value = free;
  say(notice.querySelector("[data-next]"), box.dataset.next.replace("{profile}", free));
  say(notice.querySelector("[data-take]"), box.dataset.take.replace("{profile}", free));
}

function start(progress) {
  const bar = document.getElementById("bar");
  if (bar && progress.percent) bar.value = Math.max(progress.percent, bar.hasAttribute("value") ? bar.value : 0);
  const list = document.getElementById("steps");
  for (const step of progress.steps.slice(list?.children.length ?? 0)) {
    const item = document.createElement("li");
    item.textContent = step.text[language] ?? step.text.en;
    list.append(item);
  }
}

if (box && box.dataset.moving === "yes") {
  const address = `${box.dataset.api}/environments/${encodeURIComponent(box.dataset.name)}`;
  const starting = box.dataset.phase === "starting";
  const stop = every(1000, async () => {
    let found;
    try {
      found = await ask(starting ? `${address}/progress` : address);
    } catch {
      lost.textContent = box.dataset.lost;
      lost.hidden = false;
      return;
    }
    if (!found) return;
    lost.hidden = true;
    if (found.phase === "running" && found.url) {
      stop();
      location.replace(box.dataset.root + found.url);
    } else if (found.gone || found.phase !== box.dataset.phase) {
      stop();
      location.reload();
    } else if (starting) {
      start(found);
    } else if (found.ticket) {
      place(found.ticket);
      why(found.ticket);
      instead(found);
    }
  });
}
