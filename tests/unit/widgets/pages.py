"""Widgets in a real browser, with a model that only remembers: no kernel, no portal."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from dure_widgets import Panel

BOOT = """async ([esm, css, traits]) => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const module = (window.module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" }))));
  const heard = {};
  window.sent = [];
  const told = new Set();
  window.underlying = {
    comm_live: true,
    on: (name, listener) => name === "comm_live_update" && told.add(listener),
    off: (name, listener) => told.delete(listener),
  };
  window.live = (yes) => { window.underlying.comm_live = yes; told.forEach((listener) => listener()); };
  window.model = {
    widget_manager: { get_model: async (id) => {
      if (id !== traits.own) throw new Error(id);
      return window.underlying;
    } },
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = value; window.fire("change:" + name); },
    on: (name, listener) => (heard[name] ??= new Set()).add(listener),
    off: (name, listener) => heard[name]?.delete(listener),
    send: (content) => window.sent.push(content),
  };
  window.fire = (name, content) => [...(heard[name] ?? [])].forEach((listener) => listener(content));
  // As Python answers: the last that was asked by this verb, by its id, view and number.
  window.answer = (verb, more = {}) => {
    const { id, view, number } = window.sent.filter((one) => one.ask === verb).at(-1);
    window.fire("msg:custom", { answered: verb, id, view, number, ...more });
  };
  window.listeners = () => Object.values(heard).reduce((sum, all) => sum + all.size, told.size);
  const el = document.createElement("div");
  el.id = "given";
  document.body.append(el);
  window.cleanUp = await module.default.render({ model: window.model, el });
}"""
TRAITS = ("state", "words", "language", "problem", "busy", "own")


def paint(page: Page, panel: Panel) -> None:
    """Render this panel."""
    page.evaluate(BOOT, [str(panel._esm), str(panel._css), {name: getattr(panel, name) for name in TRAITS}])


def change(page: Page, **state: Any) -> None:
    """What Python's `show` does, as the browser sees it."""
    page.evaluate("(parts) => model.set('state', { ...model.get('state'), ...parts })", state)


def asked(page: Page, verb: str) -> list[dict[str, Any]]:
    """What was asked by this verb."""
    found: list[dict[str, Any]] = page.evaluate("(verb) => sent.filter((one) => one.ask === verb)", verb)
    return found


def train(ctx: Any, epochs: int = 20, augment: bool = False) -> None:
    """Something to launch."""


def running(**more: Any) -> dict[str, Any]:
    """A job as the controller shows it."""
    times = {"created_at": "2026-11-25T03:00:00Z", "started_at": "2026-11-25T03:00:01Z", "ended_at": None}
    return {
        "name": "a",
        "state": "running",
        "reason": None,
        "profile": "cpu",
        "device": "cpu",
        "processes": 2,
        "attempts": [],
        **times,
        **more,
    }


def replica(version: int, **more: Any) -> dict[str, Any]:
    """One served version of which nothing was counted yet."""
    unknown = {"requests": None, "errors": None, "latency_p50_ms": None, "latency_p95_ms": None}
    return (
        {"version": version, "role": "champion", "phase": "ready", "percent": 100, "reason": None} | unknown | more
    )


def served(**more: Any) -> dict[str, Any]:
    """An endpoint as the controller shows it to its owner."""
    return {
        "name": "digits",
        "model": "digits",
        "owner": "ana",
        "mine": True,
        "state": "ready",
        "reason": None,
        "champion": replica(1),
        "canary": None,
        **more,
    }


def wait(page: Page, milliseconds: int) -> None:
    """Let this much of the page's own time pass, where something must not happen or not so soon."""
    page.evaluate("window.from = performance.now()")
    page.wait_for_function("(much) => performance.now() - from > much", arg=milliseconds)


def sure(page: Page, first: str, second: str) -> None:
    """Click a button that asks once more, as slowly as people read."""
    page.get_by_role("button", name=first, exact=True).click()
    wait(page, 600)
    page.get_by_role("button", name=second).click()
