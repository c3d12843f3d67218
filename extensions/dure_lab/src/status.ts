// The item in the status bar: profile and time left, and how full the memory is. A button that opens the rest.

import { Widget } from '@lumino/widgets';

import { button, h, write } from './dom';
import { memoryShare, short } from './meter';
import type { Watch } from './watch';
import type { Words } from './words';

const MINUTE = 60_000;

/** What is left, in words. */
export function left(watch: Watch, words: Words): string {
  const next = watch.nextEnd;
  if (watch.environment === null) {
    return watch.problem ? words.say('away') : words.say('unknown');
  }
  if (next === null) {
    return words.say(watch.environment.lease ? 'noEnd' : 'unknown');
  }
  if (next.left <= 0) {
    return words.say('ending');
  }
  return words.say(next.idle ? 'leftIdle' : 'left', { time: words.time(next.left) });
}

export class StatusItem extends Widget {
  private readonly text = h('span', { class: 'dure-lab-time' });
  private readonly fill = h('span', { class: 'dure-lab-fill' });
  private readonly track = h('span', { class: 'dure-lab-track', 'aria-hidden': 'true' }, this.fill);
  private readonly used = h('span', { class: 'dure-lab-used' });
  private readonly button: HTMLButtonElement;

  constructor(
    private readonly watch: Watch,
    private readonly words: Words,
    open: () => void
  ) {
    super();
    this.addClass('dure-lab-status');
    this.button = button('', 'dure-lab-open', open);
    this.button.setAttribute('aria-haspopup', 'dialog');
    this.button.append(this.text, this.track, this.used);
    this.node.append(this.button);
    watch.changed(() => this.draw());
    this.draw();
  }

  private draw(): void {
    const { watch, words } = this;
    const { environment, usage } = watch;
    this.setHidden(watch.absent || (environment === null && !watch.problem));
    const time = left(watch, words);
    const profile = environment?.profile ?? 'Dure';
    const facts = { name: environment?.name ?? '', profile, left: time };
    write(this.text, `${profile} · ${time}`);
    const figures = short(usage, words);
    write(this.used, figures);
    const part = memoryShare(usage);
    this.track.hidden = usage === null;
    this.track.toggleAttribute('data-unknown', part === null);
    this.track.toggleAttribute('data-high', (part ?? 0) >= 0.9);
    this.fill.style.inlineSize = `${Math.round(Math.min(part ?? 0, 1) * 100)}%`;
    const label = [words.say('server', facts), figures].filter(Boolean).join('. ');
    if (this.button.getAttribute('aria-label') !== label) {
      this.button.setAttribute('aria-label', label);
      this.button.title = label;
    }
    const near = watch.nextEnd?.left ?? Infinity;
    this.button.dataset['near'] = near <= MINUTE ? 'minute' : near <= 10 * MINUTE ? 'soon' : 'no';
  }
}
