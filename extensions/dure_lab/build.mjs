// Makes the folder that JupyterLab loads: `node build.mjs TARGET`. The same input gives the same bytes.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const target = process.argv[2];
const about = JSON.parse(await readFile('package.json', 'utf8'));
const made = await build({
  entryPoints: ['src/index.ts'],
  bundle: true,
  write: false,
  metafile: true,
  format: 'cjs',
  platform: 'browser',
  target: 'es2022',
  charset: 'utf8',
  minify: true,
  legalComments: 'none',
  external: ['@jupyterlab/*', '@lumino/*'],
  loader: { '.css': 'text', '.svg': 'text' }
});
const [output] = Object.values(made.metafile.outputs);
const needs = [...new Set(output.imports.map(one => one.path))].sort();
const text = (await readFile('src/container.js', 'utf8'))
  .replace('/*NEEDS*/ []', () => JSON.stringify(needs))
  .replace('/*BUNDLE*/', () => made.outputFiles[0].text.trim());
const digest = createHash('sha256').update(text).digest('hex').slice(0, 20);
const load = `static/remoteEntry.${digest}.js`;

await rm(target, { recursive: true, force: true });
await mkdir(join(target, 'static'), { recursive: true });
await writeFile(join(target, load), text);
const { name, version, description, license } = about;
const jupyterlab = { extension: true, _build: { load, extension: './extension', style: './style' } };
await writeFile(
  join(target, 'package.json'),
  `${JSON.stringify({ name, version, description, license, jupyterlab }, null, 2)}\n`
);
