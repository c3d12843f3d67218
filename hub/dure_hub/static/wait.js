// Follows one server: on to it when it runs, a fresh page when its phase changes, new numbers in between.
import { ask, every } from "./poll.js";
import { showTimes } from "./times.js";

const box = document.getElementById("waiting");
const lost = document.getElementById("lost");

function patch(ticket) {
  const position = box.querySelector("[data-position]");
  const text = new Intl.NumberFormat(document.documentElement.lang).format(ticket.position ?? 0);
  if (position && ticket.position !== null && position.textContent !== text) position.textContent = text;
  const expected = box.querySelector("[data-expected]");
  if (!expected || !ticket.expected_start) return;
  const known = expected.querySelector("time");
  if (known?.dateTime === ticket.expected_start) return;
  const node = document.createElement("time");
  node.dateTime = ticket.expected_start;
  node.setAttribute("data-when", "");
  expected.replaceChildren(node);
  showTimes(expected);
}

if (box && box.dataset.moving === "yes") {
  const stop = every(1000, async () => {
    let server;
    try {
      server = await ask(`${box.dataset.api}/environments/${encodeURIComponent(box.dataset.name)}`);
    } catch {
      lost.textContent = box.dataset.lost;
      lost.hidden = false;
      return;
    }
    if (!server) return;
    lost.hidden = true;
    if (server.phase === "running" && server.url) {
      stop();
      location.replace(server.url);
    } else if (server.gone || server.phase !== box.dataset.phase) {
      stop();
      location.reload();
    } else if (server.ticket) {
      patch(server.ticket);
    }
  });
}
