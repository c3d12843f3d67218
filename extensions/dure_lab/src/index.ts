// The parts and how they hang together. Nothing here fails JupyterLab: outside of a portal it shows nothing.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ILauncher } from '@jupyterlab/launcher';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';

import { answerEndings } from './ending';
import { tellOfInput } from './input';
import { Notices } from './notices';
import { followOutputs } from './outputs';
import { Popup } from './popup';
import { saveAll } from './saving';
import { Server } from './server';
import { StatusItem } from './status';
import style from './style.css';
import { addTutorials } from './tutorials';
import { Watch } from './watch';
import { languageOf, Words } from './words';

const SHOW = 'dure:show-server';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'dure-lab:plugin',
  description: 'Time left, use, warnings, saving before the end of a server, and output that no page has seen.',
  autoStart: true,
  requires: [IDocumentManager],
  optional: [IStatusBar, ILauncher, ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    documents: IDocumentManager,
    bar: IStatusBar | null,
    launcher: ILauncher | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const words = new Words(languageOf(translator?.languageCode ?? '', PageConfig.getOption('dureLanguage')));
    const server = new Server(app.serviceManager.serverSettings, words);
    answerEndings(app, documents, server, words);
    followOutputs(app, server);
    if (PageConfig.getOption('durePortal') !== 'true') {
      return; // no portal has started this server
    }
    document.head.append(Object.assign(document.createElement('style'), { textContent: style }));
    const watch = new Watch(server);
    const save = (): Promise<unknown> => saveAll(app, documents);
    const root = PageConfig.getOption('hubPrefix').replace(/\/hub\/$/, ''); // what all of the portal is below
    const popup = new Popup(watch, words, server, save, PageConfig.getOption('hubHost') + root);
    bar?.registerStatusItem('dure-lab:status', {
      item: new StatusItem(watch, words, () => popup.open()),
      align: 'left',
      rank: 1000
    });
    new Notices(watch, words, () => void save(), sentence => popup.open(sentence));
    app.commands.addCommand(SHOW, { label: words.say('show'), execute: () => popup.open() });
    palette?.addItem({ command: SHOW, category: 'Dure' });
    void app.restored.then(async () => {
      watch.start();
      tellOfInput(server);
      if (launcher) {
        await addTutorials(app, launcher, server, words);
      }
    });
  }
};

export default plugin;
