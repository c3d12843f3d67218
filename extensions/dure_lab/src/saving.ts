// All changed documents of this page, wherever they are shown, written to disk.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { DocumentRegistry } from '@jupyterlab/docregistry';

const AREAS = ['main', 'left', 'right', 'down'] as const;
/** A document that asks its owner something (it was changed on disk, too) is not waited for. */
const ONE_MS = 8_000;

export interface Saved {
  saved: string[];
  failed: string[];
}

/** Save every changed document. What could not be saved is named; nothing raises. */
export async function saveAll(app: JupyterFrontEnd, documents: IDocumentManager): Promise<Saved> {
  const changed = new Set<DocumentRegistry.Context>();
  for (const area of AREAS) {
    for (const widget of app.shell.widgets(area)) {
      const context = documents.contextForWidget(widget);
      if (context?.model.dirty && !context.model.readOnly) {
        changed.add(context);
      }
    }
  }
  const outcome: Saved = { saved: [], failed: [] };
  await Promise.all(
    [...changed].map(async context => {
      ((await save(context)) ? outcome.saved : outcome.failed).push(context.path);
    })
  );
  return outcome;
}

/** Lab tells its users of a failure by a dialog and us by a signal: a promise that is kept says nothing. */
async function save(context: DocumentRegistry.Context): Promise<boolean> {
  let failed = false;
  const note = (_: unknown, state: DocumentRegistry.SaveState) => {
    failed ||= state === 'failed';
  };
  context.saveState.connect(note);
  let timer = 0;
  try {
    const late = new Promise<boolean>(resolve => {
      timer = window.setTimeout(() => resolve(false), ONE_MS);
    });
    return (await Promise.race([context.save().then(() => true), late])) && !failed;
  } catch {
    return false; // it is in the list of what failed
  } finally {
    window.clearTimeout(timer);
    context.saveState.disconnect(note);
  }
}
