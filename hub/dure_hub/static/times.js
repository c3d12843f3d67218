// Shows every time in the viewer's own zone. Without this script the page says the same in UTC.
export function showTimes(root = document) {
  const language = document.documentElement.lang;
  const today = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
  const other = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
  for (const node of root.querySelectorAll("time[data-when]")) {
    const at = new Date(node.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const near = at.toDateString() === new Date().toDateString();
    node.textContent = (near ? today : other).format(at);
    node.title = full.format(at);
  }
}

showTimes();
