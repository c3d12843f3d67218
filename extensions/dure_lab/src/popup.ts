// What the status item opens: ends, price, use, and what can be done about them. A modal dialog of the browser's own,
// which keeps the focus inside, closes on Escape, and gives the focus back.

import { Dialog, showDialog } from '@jupyterlab/apputils';

import { button, h, write } from './dom';
import { meters } from './meter';
import type { Saved } from './saving';
import type { Server } from './server';
import { said, type Watch } from './watch';
import type { Words } from './words';

const HOUR = 3_600_000;

export interface Checkpoint extends Saved {
  hook: { exit: number | null; seconds: number; output: string } | null;
}

export class Popup {
  private readonly dialog = h('dialog', { class: 'dure-lab-popup', 'aria-labelledby': 'dure-lab-title' });
  private readonly facts = h('dl', { class: 'dure-lab-facts' });
  private readonly use = h('div', {});
  private readonly notice = h('p', { class: 'dure-lab-problem', role: 'status', hidden: true });
  private readonly message = h('p', { class: 'dure-lab-message', role: 'status' });
  private readonly problem = h('p', { class: 'dure-lab-problem', role: 'alert', hidden: true });
  private readonly again: HTMLButtonElement;
  private readonly latest: HTMLButtonElement;
  private readonly move: HTMLAnchorElement;
  private drawn = '';

  constructor(
    private readonly watch: Watch,
    private readonly words: Words,
    private readonly server: Server,
    private readonly saveAll: () => Promise<unknown>,
    portal: string
  ) {
    const say = (word: Parameters<Words['say']>[0], facts = {}): string => words.say(word, facts);
    const close = button('×', 'dure-lab-close', () => this.dialog.close());
    close.setAttribute('aria-label', say('close'));
    const step = (hours: number): HTMLButtonElement =>
      this.action(say('hours', { hours }), () => this.extendBy(hours));
    this.again = this.action(say('again'), () => this.watch.look());
    this.again.hidden = true;
    this.latest = this.action('', () => this.extendTo(this.watch.environment?.extendable_until ?? null));
    this.move = h('a', { class: 'dure-lab-button', target: '_blank', rel: 'noopener' }, say('move'));
    this.move.dataset['base'] = `${portal}/services/dure/spawn`;
    const stop = this.action(say('stop'), () => this.stop(), 'dure-lab-danger');
    this.dialog.append(
      h('header', {}, h('h2', { id: 'dure-lab-title' }, say('title')), close),
      this.problem,
      this.again,
      this.notice,
      this.facts,
      h('h3', {}, say('use')),
      this.use,
      h('h3', {}, say('extend')),
      h('div', { class: 'dure-lab-row' }, step(1), step(4), this.latest),
      this.message,
      h('h3', {}, say('more')),
      h('div', { class: 'dure-lab-row' }, this.move, this.action(say('checkpoint'), () => this.checkpoint()), stop)
    );
    this.dialog.addEventListener('click', event => {
      if (event.target === this.dialog) {
        this.dialog.close(); // beside it
      }
    });
    this.dialog.lang = words.language;
    document.body.append(this.dialog);
    watch.changed(() => this.draw());
  }

  /** Show it, with a sentence where something was refused. */
  open(refused = ''): void {
    write(this.message, '');
    this.drawn = '';
    if (!this.dialog.open) {
      this.dialog.showModal();
    }
    this.draw();
    if (refused) {
      this.refuse(refused);
    }
    void this.watch.refresh();
  }

  private draw(): void {
    if (!this.dialog.open) {
      return;
    }
    const { watch, words } = this;
    const { environment, usage } = watch;
    const now = Date.now();
    const [end, idle] = [watch.leaseEnd, watch.idleEnd];
    const rate = environment?.lease?.rate ?? null;
    const unknown = words.say('unknown');
    const facts: [string, string][] = [
      [words.say('profile'), environment?.profile ?? unknown],
      [words.say('name'), environment?.name ?? unknown],
      [
        words.say('ends'),
        end === null
          ? words.say(environment?.lease ? 'noEnd' : 'unknown')
          : words.say('endsAt', { when: words.when(end.at, now), time: words.time(end.left) })
      ],
      ...(idle ? [[words.say('idle'), words.say('idleAt', { when: words.atWhen(idle.at, now) })] as [string, string]] : []),
      [words.say('price'), rate === null ? unknown : words.say('perHour', { price: (rate / 1e6).toFixed(2) })]
    ];
    const told = environment?.notice?.[words.language] ?? environment?.notice?.['en'] ?? '';
    this.notice.hidden = !told;
    write(this.notice, told);
    const until = environment?.extendable_until ?? null;
    this.latest.hidden = until === null;
    if (until !== null) {
      write(this.latest, words.say('latest', { when: words.when(watch.here(until), now) }));
    }
    this.move.href = `${this.move.dataset['base']}?name=${encodeURIComponent(environment?.name ?? 'default')}`;
    this.again.hidden = !watch.problem;
    if (watch.problem) {
      this.refuse(words.say('noAnswer'));
    } else if (this.problem.textContent === words.say('noAnswer')) {
      this.refuse('');
    }
    const drawn = JSON.stringify([facts, usage]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.facts.replaceChildren(...facts.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))));
      this.use.replaceChildren(meters(usage, words));
    }
  }

  private action(label: string, act: () => Promise<void>, kind = ''): HTMLButtonElement {
    return button(label, `dure-lab-button ${kind}`.trim(), () => void this.run(act));
  }

  /** One thing at a time; what was refused is said where it was asked. */
  private async run(act: () => Promise<void>): Promise<void> {
    if (this.dialog.hasAttribute('aria-busy')) {
      return;
    }
    this.dialog.setAttribute('aria-busy', 'true');
    write(this.message, '');
    this.refuse('');
    try {
      await act();
    } catch (error) {
      this.refuse(said(error));
    } finally {
      this.dialog.removeAttribute('aria-busy');
    }
  }

  private refuse(sentence: string): void {
    this.problem.hidden = !sentence;
    write(this.problem, sentence);
  }

  private async extendBy(hours: number): Promise<void> {
    const until = this.watch.environment?.lease?.until;
    await this.extendTo(until ? new Date(Date.parse(until) + hours * HOUR).toISOString() : null);
  }

  private async extendTo(until: string | null): Promise<void> {
    if (until === null) {
      throw new Error(this.words.say('noEnd'));
    }
    await this.watch.extend(until);
    const end = this.watch.leaseEnd;
    if (end) {
      write(this.message, this.words.say('extended', { when: this.words.atWhen(end.at, Date.now()) }));
    }
  }

  private async checkpoint(): Promise<void> {
    const { saved, failed, hook } = await this.server.ask<Checkpoint>('POST', 'dure/checkpoint', {});
    const { words } = this;
    const ran = hook && (hook.exit === null ? words.say('hookKilled') : words.say('hookRan', { exit: hook.exit }));
    const count = saved.length ? words.say('saved', { count: saved.length }) : words.say('savedNone');
    write(this.message, [failed.length ? '' : count, ran].filter(Boolean).join(' '));
    if (failed.length) {
      this.refuse(words.say('unsaved', { paths: failed.join(', ') }));
    }
  }

  private async stop(): Promise<void> {
    this.dialog.close(); // Lab's own dialog would lie behind this one
    const { words } = this;
    const answer = await showDialog({
      title: words.say('sureTitle'),
      body: words.say('sureText'),
      buttons: [
        Dialog.cancelButton({ label: words.say('keep') }),
        Dialog.warnButton({ label: words.say('sure') })
      ],
      defaultButton: 0
    });
    if (!answer.button.accept) {
      return;
    }
    try {
      await this.saveAll();
      await this.watch.stop();
    } catch (error) {
      this.open(said(error));
      return;
    }
    this.open();
    write(this.message, words.say('stopping'));
  }
}
