// Requests to the server's own addresses. None of them counts as use of the server, and the portal's token stays there.

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Words } from './words';

/** What was refused, in words for people. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
  }
}

export class Server {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly words: Words
  ) {}

  /** The JSON of an answer, null where it is empty. Raises `Refusal`, or what the browser says of a lost line. */
  async ask<T>(verb: 'GET' | 'POST', path: string, body?: unknown, tracked = false): Promise<T> {
    const query = tracked ? '' : '?no_track_activity=1';
    const init: RequestInit = {
      method: verb,
      headers: { 'Accept-Language': this.words.language, 'Content-Type': 'application/json' },
      cache: 'no-store',
      signal: AbortSignal.timeout(90_000)
    };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    const answer = await ServerConnection.makeRequest(
      URLExt.join(this.settings.baseUrl, path) + query,
      init,
      this.settings
    );
    const text = await answer.text();
    if (!answer.ok) {
      throw new Refusal(this.words.withTimes(sentence(text)) || `HTTP ${answer.status}`, answer.status);
    }
    return (text ? JSON.parse(text) : null) as T;
  }
}

/** The portal's sentence and what to do next, in an error of its shape; of Jupyter's shape, its message. */
function sentence(text: string): string {
  try {
    const said = JSON.parse(text);
    const { message, next_step } = said.error ?? said;
    return [message, next_step].filter(part => typeof part === 'string').join(' ');
  } catch {
    return '';
  }
}
