// Warnings before an end, each once, and the saving of everything at the last minute.

import { Notification } from '@jupyterlab/apputils';

import { Alarm, said, type End, type Watch } from './watch';
import type { Words } from './words';

const MINUTE = 60_000;
const STEPS = [60 * MINUTE, 10 * MINUTE, MINUTE];
const IDLE_STEP = 10 * MINUTE;

/** The step that an end has come to: the smallest that is not below what is left; null before the first. */
export function step(left: number): number | null {
  return STEPS.filter(one => left <= one).at(-1) ?? null;
}

export class Notices {
  private warnedAt: number | null = null; // the smallest step of this end that was shown
  private end = 0;
  private idleEnd = 0;
  private shown: string[] = [];
  private stopAt: string | null = null; // the administrator's stop that was told of
  private readonly told = new Set<string>();
  private readonly alarm: Alarm;

  constructor(
    private readonly watch: Watch,
    private readonly words: Words,
    private readonly save: () => void,
    private readonly refused: (sentence: string) => void
  ) {
    this.alarm = new Alarm(() => this.save());
    watch.changed(() => this.follow());
    document.addEventListener('visibilitychange', () => this.alarm.again());
  }

  private follow(): void {
    const next = this.watch.nextEnd;
    this.alarm.at(next && next.at - MINUTE);
    if (document.visibilityState !== 'visible') {
      return; // nobody would see it; there is a look as soon as somebody does
    }
    this.warnOfEnd(this.watch.leaseEnd);
    this.warnOfIdleness(this.watch.idleEnd, this.watch.leaseEnd);
    this.tell();
  }

  private warnOfEnd(end: End | null): void {
    if (end === null || end.left <= 0) {
      return;
    }
    // The offset of the clocks is measured anew with every look, so the same end may differ a little.
    if (end.at - this.end > MINUTE / 2) {
      this.warnedAt = null;
      this.dismiss();
    }
    this.end = end.at;
    const stop = this.watch.environment?.stop_at ?? null;
    const news = stop !== null && stop !== this.stopAt;
    this.stopAt = stop;
    const now = step(end.left);
    if (!news && (now === null || (this.warnedAt !== null && this.warnedAt <= now))) {
      return;
    }
    this.warnedAt = now;
    if (now === MINUTE) {
      this.save();
    }
    this.dismiss();
    const facts = { time: this.words.time(end.left), when: this.words.atWhen(end.at, Date.now()) };
    const why = stop === null ? null : (this.watch.environment?.stop_text?.[this.words.language] ?? '');
    if (why !== null) {
      this.shown.push(Notification.warning(this.words.say('toastStop', { ...facts, why }).trim(), { autoClose: false }));
      return; // its owner cannot move that end
    }
    this.warn(this.words.say('toastEnd', facts), this.words.say('extendHour'), () => this.extend(end));
  }

  private warnOfIdleness(end: End | null, lease: End | null): void {
    if (end === null || end.left > IDLE_STEP || end.left <= 0 || (lease !== null && lease.at <= end.at)) {
      return;
    }
    if (end.at - this.idleEnd <= MINUTE / 2) {
      return;
    }
    this.idleEnd = end.at;
    const text = this.words.say('toastIdle', { when: this.words.atWhen(end.at, Date.now()) });
    this.warn(text, this.words.say('using'), async () => {
      await this.watch.use();
      Notification.info(this.words.say('noted'), { autoClose: 5000 });
    });
  }

  /** What happened elsewhere, each once: how this server ends is said above. */
  private tell(): void {
    const { environment, notices } = this.watch;
    const own = `environment:${environment?.owner}/${environment?.name}`;
    for (const one of [...notices].reverse()) {
      if (this.told.has(one.id) || (one.kind === 'ending' && one.thing === own)) {
        continue;
      }
      this.told.add(one.id);
      const text = this.words.withTimes(one.text[this.words.language] ?? one.text['en'] ?? '');
      const callback = (): void => {
        this.watch.seen(one.id).catch((error: unknown) => this.refused(said(error)));
      };
      Notification.info(text, { autoClose: false, actions: [{ label: this.words.say('gotIt'), callback }] });
    }
  }

  private warn(text: string, label: string, act: () => Promise<void>): void {
    const callback = (): void => {
      act().catch((error: unknown) => this.refused(said(error)));
    };
    const actions = [{ label, displayType: 'accent' as const, callback }];
    this.shown.push(Notification.warning(text, { autoClose: false, actions }));
  }

  private async extend(end: End): Promise<void> {
    const until = this.watch.environment?.lease?.until;
    if (until) {
      await this.watch.extend(new Date(Date.parse(until) + 60 * MINUTE).toISOString());
      const when = this.words.atWhen(this.watch.leaseEnd?.at ?? end.at, Date.now());
      Notification.success(this.words.say('extended', { when }), { autoClose: 5000 });
    }
  }

  private dismiss(): void {
    for (const id of this.shown.splice(0)) {
      Notification.dismiss(id);
    }
  }
}
