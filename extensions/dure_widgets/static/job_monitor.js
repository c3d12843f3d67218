// The monitor: state, progress, curve, log, Stop. Points and log come as messages and are appended here.

const KEPT_LINES = 200;
const LONGEST_LINE = 2000;

/** A line as a terminal shows it: what was written over is gone. A return at its end wipes it when more comes. */
function overwritten(line) {
  const bare = line.replace(/\r+$/, "");
  return bare.slice(bare.lastIndexOf("\r") + 1).slice(0, LONGEST_LINE) + (bare === line ? "" : "\r");
}

function logBox(model) {
  const pre = h("pre", { class: "dure-log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": word(model, "log") });
  const toEnd = button(word(model, "to_end"), () => {
    follows = true;
    pre.scrollTop = pre.scrollHeight;
    show(toEnd, false);
  }, { quiet: true });
  toEnd.hidden = true;
  const what = h("span", { class: "dure-help" });
  const node = h("div", { class: "dure-block" }, h("div", { class: "dure-row" }, h("h4", {}, word(model, "log")), what, h("span", { class: "dure-push" }), toEnd), pre);
  let lines = [];
  let follows = true;
  let offset = 0;
  pre.addEventListener("scroll", () => {
    follows = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
    show(toEnd, !follows);
  });
  const draw = () => {
    text(pre, lines.length ? lines.join("\n").replace(/\r/g, "") : word(model, "no_log"));
    text(what, lines.length >= KEPT_LINES ? word(model, "log_end", { count: KEPT_LINES }) : "");
    if (follows) pre.scrollTop = pre.scrollHeight;
  };
  return {
    node,
    offset: () => offset,
    clear: () => {
      lines = [];
      offset = 0;
      follows = true;
      draw();
    },
    add: (piece) => {
      if (piece.from !== offset) return; // an answer to another view's look, or to one from before a clear
      offset = piece.next;
      lines = (lines.join("\n") + piece.text).split("\n").slice(-KEPT_LINES - 1).map(overwritten);
      draw();
    },
  };
}

function progressBar(model) {
  const bar = h("progress", { max: 1, id: newId() });
  const what = h("span", { class: "dure-help" });
  const name = h("label", { for: bar.id, class: "dure-help" }, word(model, "progress"));
  const node = h("div", { class: "dure-progress" }, name, bar, what);
  return { node, patch: (job, progress) => {
    const going = job && ["starting", "running"].includes(job.state);
    const known = progress && progress.of;
    // Without a length a bar that runs to and fro says that it works; once ended it would say nothing.
    show(node, Boolean(job) && (going || known));
    if (known) bar.value = progress.step / progress.of;
    else bar.removeAttribute("value");
    text(what, known ? `${share(model, progress.step / progress.of)} · ${word(model, "step_of", { step: progress.step, all: progress.of, unit: progress.unit })}`
      : progress ? word(model, "step", { step: progress.step }) : "");
  } };
}

function render({ model, el }) {
  const box = frame(model, el, word(model, "title"));
  const state = () => model.get("state");
  const status = chip();
  const stop = sureButton(word(model, "stop"), word(model, "stop_sure"), () => ask(model, "stop", has() ?? {}));
  const stopping = h("span", { class: "dure-muted" }, word(model, "stopping"));
  box.aside.append(status, stopping, stop);
  const empty = h("p", { class: "dure-empty" });
  const elapsed = fact(word(model, "elapsed"));
  const device = fact(word(model, "device"));
  const profile = fact(word(model, "profile"));
  const attempts = fact(word(model, "attempts"));
  const facts = h("dl", { class: "dure-facts" }, elapsed.node, device.node, profile.node, attempts.node);
  const why = h("p", { class: "dure-why" });
  const progress = progressBar(model);
  const points = new Map();
  const had = new Map(); // how many points of each were read; what is drawn may be thinned
  const chart = curve(model, points, () => {
    complete = null;
    looks.now();
  });
  const metrics = h("div", { class: "dure-block" }, h("h4", {}, word(model, "curve")), chart.node);
  const log = logBox(model);
  const whole = h("div", { class: "dure-body" }, facts, why, progress.node, metrics, log.node);
  box.body.append(empty, whole);

  let name = null;
  let told = null;
  let complete = null;
  let asked = ""; // what this view's last look was about
  let names = false; // whether the metrics' names are known
  const forget = (now) => {
    name = now;
    names = false;
    told = null;
    points.clear();
    had.clear();
    chart.clear();
    log.clear();
  };
  const time = () => {
    const job = state().job;
    if (!job || box.gone()) return;
    const from = job.started_at ?? job.created_at;
    const until = job.ended_at ? new Date(job.ended_at) : new Date();
    text(elapsed.node.firstChild, word(model, job.started_at ? "elapsed" : "waiting"));
    text(elapsed.value, duration(model, (until - new Date(from)) / 1000));
  };
  const patch = () => {
    const now = state();
    const job = now.job;
    if ((now.name ?? null) !== name) forget(now.name ?? null);
    show(empty, !job);
    show(whole, Boolean(job));
    text(empty, name ? word(model, "looking", { name }) : word(model, "empty"));
    text(box.heading, name ?? word(model, "title"));
    setChip(status, job?.state, job && word(model, job.state));
    const going = Boolean(job) && !["succeeded", "failed", "stopped"].includes(job.state);
    show(stop, going && !now.stopping);
    show(stopping, going && Boolean(now.stopping));
    progress.patch(job, now.progress);
    if (!job) return;
    text(device.value, job.device ? (job.processes ? word(model, "ranks", { device: job.device, count: job.processes }) : job.device) : word(model, "unknown"));
    text(profile.value, job.profile);
    text(attempts.value, job.attempts.map((one) => word(model, "attempt", { number: one.number, state: word(model, one.state) })).join(", "));
    show(attempts.node, job.attempts.length > 1);
    text(why, job.state === "succeeded" ? "" : job.reason);
    show(why, why.textContent !== "");
    time();
    if (told !== null && told !== job.state) box.say(word(model, "announce", { name: job.name, state: word(model, job.state) }));
    told = job.state;
  };
  const hear = (message) => {
    const news = message?.news;
    if (!news || news.job !== name) return;
    if (news.metrics) {
      names = true;
      chart.list(news.metrics);
    }
    for (const [metric, piece] of Object.entries(news.points ?? {})) {
      // Another view's answer may begin earlier, and only what is not thinned can be cut where this view's part ends.
      const known = had.get(metric) ?? 0;
      const over = known - piece.from;
      if (over < 0 || piece.next <= known || (over > 0 && piece.rows.length !== piece.next - piece.from)) continue;
      points.set(metric, thin((points.get(metric) ?? []).concat(piece.rows.slice(over))));
      had.set(metric, piece.next);
    }
    if (news.points || news.metrics) chart.update();
    if (news.log) log.add(news.log);
  };
  const has = () => {
    const now = state();
    if (!now.name || complete === now.name) return null;
    return { job: name, log: log.offset(), have: Object.fromEntries(had), names, on: chart.chosen() };
  };
  // A job that is over is asked for no more, once this view has all of it: an answer to its own look said so.
  const answered = (message) => {
    if (looks.mine(message) && !message.failed && asked === `${name} ${chart.chosen()}` && state().over && state().job?.name === name) complete = name;
  };
  const looks = live(model, box.root, 1.5, () => {
    asked = `${name} ${chart.chosen()}`;
    return has();
  });
  patch();
  chart.update();
  const timer = setInterval(time, 1000);
  box.closing.push(
    listen(model, "msg:custom", hear), listen(model, "msg:custom", answered), listen(model, "change:state", () => {
      const before = name;
      patch();
      if (name !== before) looks.now();
    }),
    looks.stop, chart.close, () => clearInterval(timer),
  );
  return box.close;
}

export default { render };
