// What is known of this environment, asked once a minute while somebody looks, and the time that is left of it.

import { Refusal, type Server } from './server';
import type { Environment, Look, Notice, Usage } from './wire';

export const EVERY_MS = 60_000;
const LONGEST_MS = 2 ** 31 - 1; // what a timer can hold

export interface End {
  at: number; // by the browser's clock, as all times here
  left: number;
  idle: boolean; // it ends then only if nobody uses it
}

/** Where an end stands: the lease's, or that of an idle server where that comes first. */
export class Watch {
  environment: Environment | null = null;
  usage: Usage | null = null;
  notices: Notice[] = []; // unread ones
  problem = ''; // why the last look told nothing
  absent = false; // no portal has started this server
  private ahead = 0; // how much the portal's clock is ahead of ours
  private timer = 0;
  private looking: Promise<void> | null = null;
  private readonly listeners: (() => void)[] = [];

  constructor(private readonly server: Server) {}

  /** Begin; the page's own visibility says when to ask and when not to. */
  start(): void {
    document.addEventListener('visibilitychange', () => this.follow());
    this.follow();
  }

  /** Call it with every look, and with every second while the page is visible. */
  changed(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Look now. Never fails: what went wrong is in `problem`. */
  async look(): Promise<void> {
    this.looking ??= this.once().finally(() => (this.looking = null));
    await this.looking;
  }

  /** What it uses, as fresh as the portal has it. */
  async refresh(): Promise<void> {
    try {
      this.usage = await this.server.ask<Usage>('GET', 'dure/usage');
    } catch (error) {
      this.usage = null;
      this.problem = said(error);
    }
    this.tell();
  }

  /** Move the end to a moment of the portal's clock. Raises `Refusal`. */
  async extend(until: string): Promise<void> {
    this.environment = await this.server.ask<Environment>('POST', 'dure/extend', { until });
    this.tell();
  }

  /** Stop the server. Raises `Refusal`. */
  async stop(): Promise<void> {
    await this.server.ask('POST', 'dure/stop', {});
  }

  /** Mark a notice as read. Raises `Refusal`. */
  async seen(id: string): Promise<void> {
    await this.server.ask('POST', 'dure/notices/seen', { ids: [id] });
    this.notices = this.notices.filter(one => one.id !== id);
  }

  /** Tell the server that somebody is here: a request that counts. */
  async use(): Promise<void> {
    await this.server.ask('GET', 'dure/environment', undefined, true);
  }

  /** A moment of the portal's as one of the browser's. */
  here(time: string): number {
    return Date.parse(time) - this.ahead;
  }

  /** The end of the lease; null where there is none, or it is not known. */
  get leaseEnd(): End | null {
    return this.end(this.environment?.lease?.until, false);
  }

  get idleEnd(): End | null {
    return this.end(this.environment?.idle_end, true);
  }

  /** The end that comes first. */
  get nextEnd(): End | null {
    const ends = [this.leaseEnd, this.idleEnd].filter(end => end !== null);
    return ends.sort((one, other) => one.at - other.at)[0] ?? null;
  }

  private end(time: string | null | undefined, idle: boolean): End | null {
    if (!time) {
      return null;
    }
    const at = this.here(time);
    return { at, left: at - Date.now(), idle };
  }

  private follow(): void {
    window.clearInterval(this.timer);
    if (document.visibilityState !== 'visible' || this.absent) {
      return;
    }
    let next = Date.now() + EVERY_MS;
    void this.look();
    this.timer = window.setInterval(() => {
      if (Date.now() >= next) {
        next = Date.now() + EVERY_MS;
        void this.look();
      }
      this.tell();
    }, 1000);
  }

  private async once(): Promise<void> {
    try {
      const seen = await this.server.ask<Look>('GET', 'dure/environment');
      this.environment = seen.environment;
      this.usage = seen.usage;
      this.notices = seen.notices ?? [];
      this.ahead = seen.now ? Date.parse(seen.now) - Date.now() : this.ahead;
      this.problem = '';
    } catch (error) {
      if (error instanceof Refusal && error.status === 404 && this.environment === null) {
        this.absent = true;
        window.clearInterval(this.timer);
      }
      this.problem = said(error);
    }
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) {
      listener();
    }
  }
}

/**
 * Run something once at a moment, also in a hidden page.
 *
 * A browser lets a hidden page's timers wait for a minute where each was set by the one before it. So this one is set
 * anew only for another moment, and once more when the page is hidden.
 */
export class Alarm {
  private timer = 0;
  private moment: number | null = null;

  constructor(private readonly ring: () => void) {}

  /** Ring then, and at no other moment; null is never. */
  at(moment: number | null): void {
    if (moment === null || this.moment === null || Math.abs(moment - this.moment) > 1000) {
      this.moment = moment;
      this.again();
    }
  }

  /** Set the timer again, where the moment is still to come. */
  again(): void {
    window.clearTimeout(this.timer);
    const wait = this.moment === null ? 0 : this.moment - Date.now();
    if (wait > 0) {
      this.timer = window.setTimeout(() => this.ring(), Math.min(wait, LONGEST_MS));
    }
  }
}

/** What an error says to people. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
