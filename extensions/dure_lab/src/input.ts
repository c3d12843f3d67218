// When somebody last typed, clicked or scrolled in this page, told to the server: an open page alone is no use of it.

import type { Server } from './server';

const EVENTS = ['keydown', 'pointerdown', 'wheel'] as const;
const EVERY_MS = 60_000;

/** By two clocks: one that nobody sets, but stands still while the machine sleeps, and one that goes on. */
interface Moment {
  running: number;
  wall: number;
}

/** Say that this page can tell, then tell of use: at once, later at most once a minute, and never without any. */
export function tellOfInput(server: Server): void {
  let last: Moment | null = null;
  let toldAt = 0;
  let timer = 0;

  const tell = async (): Promise<void> => {
    timer = 0;
    toldAt = performance.now();
    try {
      const seconds_ago = last === null ? null : sinceMs(last) / 1000;
      await server.ask('POST', 'dure/input', { seconds_ago });
    } catch (error) {
      console.warn('dure-lab: the server was not told of use of this page', error); // the next use tells again
    }
  };
  const note = (event: Event): void => {
    if (!event.isTrusted) {
      return; // a script's
    }
    const first = last === null;
    last = now();
    if (timer === 0) {
      const wait = first ? 0 : toldAt + EVERY_MS - last.running;
      timer = window.setTimeout(() => void tell(), Math.max(wait, 0));
    }
  };
  for (const event of EVENTS) {
    document.addEventListener(event, note, { capture: true, passive: true });
  }
  void tell();
}

function now(): Moment {
  return { running: performance.now(), wall: Date.now() };
}

function sinceMs(then: Moment): number {
  const { running, wall } = now();
  return Math.max(running - then.running, wall - then.wall, 0);
}
