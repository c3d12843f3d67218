// Follows one execution: its log as it grows, the notebook after each cell, a fresh page when its state changes.
import { ask, every } from "./poll.js";

const box = document.getElementById("execution");
const lost = document.getElementById("lost");
const log = document.querySelector("pre.log");
const frame = document.querySelector("iframe.notebook");
const LIMIT = 20000;
let offset = Number(log.dataset.offset);
let turns = 0;
let stale = false;

function append(text) {
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const known = log.textContent === log.dataset.none ? "" : log.textContent;
  log.textContent = (known + text).slice(-LIMIT);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function look() {
  // With a query it is somebody else's, which the API shows an administrator.
  const { call, query } = box.dataset;
  const now = await ask(`${call}?${query}`);
  if (!now) return false;
  const page = await ask(`${call}/logs?offset=${offset}&${query}`);
  if (page?.text) {
    append(page.text);
    offset = page.next_offset;
    // Its line says that a cell began, so the one before it is in the notebook.
    stale ||= /^\[/m.test(page.text);
  }
  return now.gone || now.state !== box.dataset.now || (Boolean(now.page) && !frame);
}

log.scrollTop = log.scrollHeight;
const stop = every(2000, async () => {
  turns += 1;
  try {
    if (await look()) {
      stop();
      location.reload();
      return;
    }
    lost.hidden = true;
  } catch {
    lost.textContent = box.dataset.lost;
    lost.hidden = false;
    return;
  }
  if (stale && frame && turns % 3 === 0 && document.activeElement !== frame) {
    stale = false;
    frame.setAttribute("src", frame.getAttribute("src"));
  }
});
