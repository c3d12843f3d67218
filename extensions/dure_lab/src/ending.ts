// The server asks every page to save, and hears from each what became of it.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { IDocumentManager } from '@jupyterlab/docmanager';

import { saveAll } from './saving';
import type { Server } from './server';
import type { Words } from './words';

const EVENT = 'https://dure/events/ending';
const CHECKPOINT = 'checkpoint';

/** Answer from now on. */
export function answerEndings(
  app: JupyterFrontEnd,
  documents: IDocumentManager,
  server: Server,
  words: Words
): void {
  const page = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()); // the first only over https and on loopback
  app.serviceManager.events.stream.connect((_, event) => {
    if (event.schema_id === EVENT) {
      void answer(event as unknown as { id: string; reason: string });
    }
  });

  async function answer(event: { id: string; reason: string }): Promise<void> {
    const outcome = await saveAll(app, documents);
    try {
      await server.ask('POST', 'dure/saved', { id: event.id, page, ...outcome });
    } catch (error) {
      console.warn('dure-lab: what was saved could not be told', error); // too late for it, or the server has gone
    }
    if (outcome.failed.length) {
      Notification.error(words.say('unsaved', { paths: outcome.failed.join(', ') }), { autoClose: false });
    }
    if (event.reason !== CHECKPOINT) {
      Notification.warning(words.say('endSoon'), { autoClose: false });
    }
  }
}
