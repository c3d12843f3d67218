// A card in the launcher for each tutorial in the person's folder.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ILauncher } from '@jupyterlab/launcher';
import { LabIcon } from '@jupyterlab/ui-components';

import mark from './mark.svg';
import { Refusal, type Server } from './server';
import type { Words } from './words';

const FOLDER = 'tutorials';
const OPEN = 'dure:open-tutorial';

interface Listing {
  content: { name: string; path: string; type: string }[];
}

/** Add them. A folder that its owner has deleted has none. */
export async function addTutorials(
  app: JupyterFrontEnd,
  launcher: ILauncher,
  server: Server,
  words: Words
): Promise<void> {
  const icon = new LabIcon({ name: 'dure-lab:mark', svgstr: mark });
  app.commands.addCommand(OPEN, {
    label: args => words.tutorial(String(args['name'] ?? words.say('tutorial'))),
    caption: args => words.say('openTutorial', { name: words.tutorial(String(args['name'] ?? '')) }),
    icon,
    execute: args => app.commands.execute('docmanager:open', { path: args['path'] ?? '' })
  });
  let listing: Listing;
  try {
    listing = await server.ask<Listing>('GET', `api/contents/${FOLDER}`);
  } catch (error) {
    if (error instanceof Refusal) {
      return;
    }
    throw error;
  }
  const notebooks = listing.content.filter(one => one.type === 'notebook').sort((a, b) => (a.name < b.name ? -1 : 1));
  notebooks.forEach(({ name, path }, rank) => {
    const args = { name: name.replace(/\.ipynb$/, ''), path };
    launcher.add({ command: OPEN, args, category: 'Dure', rank });
  });
}
