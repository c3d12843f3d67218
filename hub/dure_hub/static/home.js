// Looks whether a server changed, and then loads the page anew: it is small, and always says the whole truth.
import { ask, every } from "./poll.js";

const api = document.querySelector("script[data-api]").dataset.api;
const shown = () =>
  [...document.querySelectorAll("[data-server]")].map((card) => `${card.dataset.server} ${card.dataset.phase}`).sort().join("\n");

every(4000, async () => {
  try {
    const servers = await ask(`${api}/environments`);
    if (!Array.isArray(servers)) return;
    const now = servers.map((server) => `${server.name} ${server.phase}`).sort().join("\n");
    if (now !== shown() && !document.activeElement?.closest("form, pre")) location.reload();
  } catch {
    // The portal restarts by itself; the next turn asks again.
  }
});
