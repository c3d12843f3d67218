// Output that was put out while no page was open, and what is still to come of it, into the cells that asked for it.
//
// A page follows its own executions only. Those of a page before it are taken over from the server: as far as they
// have come there, then message by message as they come here. Which of these the server had is told by their ids.
// Of its own it takes what has ended while its line was broken, where Jupyter did not keep that for it.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

import type { Server } from './server';
import type { Execution, Output, TakenOver } from './wire';

/** What is used of a notebook's cells; the package with their types would bring a hundred others. */
interface Outputs {
  add(output: Output): number;
  set(index: number, output: Output): void;
  clear(wait?: boolean): void;
}

interface Cell {
  readonly id: string;
  readonly type: string;
  readonly outputs: Outputs;
  executionCount: number | null;
  executionState: 'running' | 'idle';
  trusted: boolean;
  readonly sharedModel: { getSource(): string };
  clearExecution(): void;
}

const KEEPS_IDS = 5; // the minor version of files since which cells have ids there
const KEPT = 1000; // messages of others that may turn out to be ours
const SHOWS = new Set(['stream', 'display_data', 'execute_result', 'error']);
const OVER = new Set(['restarting', 'autorestarting', 'terminating', 'dead']);

/** Follow every notebook that is opened from now on. */
export function followOutputs(app: JupyterFrontEnd, server: Server): void {
  const known = new WeakSet<DocumentRegistry.Context>(); // a notebook may be shown twice
  app.docRegistry.addWidgetExtension('Notebook', {
    createNew: (_, context) => {
      if (!known.has(context)) {
        known.add(context);
        new Follower(context, server);
      }
    }
  });
}

/** One execution in its cell. */
class Followed {
  private readonly displays: [string, number][] = [];
  private count: number | null = null;
  private clearing = false;

  constructor(readonly cell: Cell) {
    cell.clearExecution();
    cell.trusted = true; // its owner has run it
    cell.executionState = 'running';
  }

  take(kind: string, content: Record<string, unknown>): void {
    if (SHOWS.has(kind)) {
      this.add({ ...content, output_type: kind });
    } else if (kind === 'clear_output') {
      this.clearing = true;
      this.cell.outputs.clear(content['wait'] === true);
    } else if (kind === 'execute_input') {
      this.count = content['execution_count'] as number;
    }
  }

  add({ transient, ...output }: Output): void {
    if (this.clearing) {
      this.clearing = false;
      this.displays.length = 0;
    }
    const index = this.cell.outputs.add(output) - 1;
    if (transient?.display_id) {
      this.displays.push([transient.display_id, index]);
    }
  }

  /** A display was shown before and looks otherwise now. */
  update({ transient, ...content }: Record<string, any>): void {
    for (const [name, index] of this.displays) {
      if (name === transient?.display_id) {
        this.cell.outputs.set(index, { ...content, output_type: 'display_data' });
      }
    }
  }

  /** A cell whose number is set is shown as done, so that comes last. */
  end(count = this.count): void {
    this.cell.executionCount = count;
    this.cell.executionState = 'idle';
  }
}

class Follower {
  private readonly running = new Map<string, Followed>();
  private readonly done = new Set<Followed>(); // their displays may still be updated
  private others: KernelMessage.IMessage[] = [];
  private kernel: Kernel.IKernelConnection | null = null;
  private asking = false;
  private again = false;

  constructor(
    private readonly context: DocumentRegistry.Context,
    private readonly server: Server
  ) {
    const session = context.sessionContext;
    session.iopubMessage.connect((_, message) => this.heard(message));
    session.kernelChanged.connect(() => this.ask());
    session.connectionStatusChanged.connect(() => this.ask());
    session.statusChanged.connect((_, status) => {
      if (OVER.has(status)) {
        this.stop();
      }
    });
    void context.ready.then(() => this.ask());
  }

  private heard(message: KernelMessage.IMessage): void {
    const kind = message.header.msg_type;
    const parent = message.parent_header as Partial<KernelMessage.IHeader>;
    if (kind === 'update_display_data') {
      for (const one of [...this.running.values(), ...this.done]) {
        one.update(message.content as Record<string, unknown>);
      }
    }
    if (parent.msg_type !== 'execute_request' || !parent.msg_id) {
      return;
    }
    if (this.running.has(parent.msg_id)) {
      this.take(parent.msg_id, message);
    } else if (parent.session !== this.context.sessionContext.session?.kernel?.clientId) {
      this.others = [...this.others.slice(1 - KEPT), message];
      if (isIdle(message)) {
        this.ask(); // perhaps the page that asked has left meanwhile
      }
    }
  }

  private take(id: string, message: KernelMessage.IMessage): void {
    const one = this.running.get(id);
    one?.take(message.header.msg_type, message.content as Record<string, unknown>);
    if (one && isIdle(message)) {
      one.end();
      this.running.delete(id);
      this.done.add(one);
    }
  }

  /** Take over what is there to take over. */
  private ask(): void {
    const kernel = this.context.sessionContext.session?.kernel ?? null;
    this.watch(kernel);
    if (!this.context.isReady || kernel?.connectionStatus !== 'connected') {
      return;
    }
    this.again = true;
    if (!this.asking) {
      this.asking = true;
      void this.askOn(kernel).finally(() => (this.asking = false));
    }
  }

  private async askOn(kernel: Kernel.IKernelConnection): Promise<void> {
    while (this.again) {
      this.again = false;
      const { nbformat_minor } = this.context.model.sharedModel as unknown as { nbformat_minor: number };
      const named = nbformat_minor >= KEEPS_IDS;
      const cells = this.cells().map(cell => ({ id: cell.id, source: named ? null : cell.sharedModel.getSource() }));
      try {
        const body = { kernel: kernel.id, session: kernel.clientId, cells };
        const { executions, written_at } = await this.server.ask<TakenOver>('POST', 'dure/outputs', body);
        await this.readAgain(written_at);
        const clean = !this.context.model.dirty;
        executions.forEach(one => this.begin(one));
        if (clean && executions.some(one => one.ended)) {
          void this.context.save(); // it was in no file, and the server keeps it no longer
        }
      } catch (error) {
        console.warn('dure-lab: output of an earlier page could not be taken over', error);
      }
    }
    this.others = [];
  }

  /** The file may have been written between our reading of it and our connecting to the kernel. */
  private async readAgain(written: string | null): Promise<void> {
    const { context } = this;
    const read = context.contentsModel?.last_modified;
    if (written && read && Date.parse(read) < Date.parse(written) && !context.model.dirty) {
      await context.revert();
    }
  }

  private begin(execution: Execution): void {
    const cell = this.cells().find(one => one.id === execution.cell);
    if (!cell || cell.sharedModel.getSource() !== execution.code) {
      return;
    }
    if (cell.executionState === 'running' && !execution.missed) {
      return; // this page has it executed itself
    }
    const followed = new Followed(cell);
    execution.outputs.forEach(output => followed.add(output));
    if (execution.ended) {
      followed.end(execution.count);
      this.done.add(followed);
      return;
    }
    followed.take('execute_input', { execution_count: execution.count });
    this.running.set(execution.id, followed);
    const seen = new Set(execution.seen);
    const since = Date.parse(execution.since);
    for (const message of this.others) {
      const { msg_id, date } = message.header;
      const mine = (message.parent_header as KernelMessage.IHeader).msg_id === execution.id;
      if (mine && !seen.has(msg_id) && !(Date.parse(date) < since)) {
        this.take(execution.id, message);
      }
    }
    seen.clear();
  }

  /** A cell that this page executes itself is its own again. */
  private watch(kernel: Kernel.IKernelConnection | null): void {
    if (kernel === this.kernel) {
      return;
    }
    this.stop();
    this.kernel = kernel;
    kernel?.anyMessage.connect((_, { msg, direction }) => {
      if (direction === 'send' && msg.header.msg_type === 'execute_request') {
        const cell = msg.metadata['cellId'];
        for (const [id, one] of this.running) {
          if (one.cell.id === cell) {
            this.running.delete(id);
          }
        }
        for (const one of this.done) {
          if (one.cell.id === cell) {
            this.done.delete(one);
          }
        }
      }
    });
  }

  /** The kernel is another one, or starts anew. */
  private stop(): void {
    for (const one of this.running.values()) {
      one.end();
    }
    this.running.clear();
    this.done.clear();
    this.others = [];
  }

  private cells(): Cell[] {
    const model = this.context.model as unknown as { cells?: Iterable<Cell> };
    return [...(model.cells ?? [])].filter(cell => cell.type === 'code');
  }
}

function isIdle(message: KernelMessage.IMessage): boolean {
  return (
    message.header.msg_type === 'status' &&
    (message.content as { execution_state?: string }).execution_state === 'idle'
  );
}
