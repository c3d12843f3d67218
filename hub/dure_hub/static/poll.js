// Asks again and again while the page is visible. 401 means the login ended: the page itself renews it.
export async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-store" });
  if (answer.status === 401) {
    location.reload();
    return null;
  }
  if (!answer.ok && answer.status !== 404) throw new Error(`HTTP ${answer.status}`);
  return answer.status === 404 ? { gone: true } : answer.json();
}

export function every(milliseconds, look) {
  let timer = null;
  let busy = false;
  const turn = async () => {
    if (busy) return;
    busy = true;
    try {
      await look();
    } finally {
      busy = false;
    }
  };
  const follow = () => {
    clearInterval(timer);
    timer = document.hidden ? null : setInterval(turn, milliseconds);
    if (!document.hidden) turn();
  };
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", follow);
  };
}
