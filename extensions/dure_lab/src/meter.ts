// What this server uses of what it holds, as bars with their figures in words.

import { h } from './dom';
import type { Device, Usage } from './wire';
import type { Words } from './words';

interface Row {
  label: string;
  text: string;
  part: number | null; // from 0 to 1; null is unknown
  note?: string;
}

/** Memory in short, for the status bar: "1.2 GiB / 4 GiB". */
export function short(usage: Usage | null, words: Words): string {
  if (usage === null) {
    return '';
  }
  const memory = usage.memory_used_mb;
  const parts = [`${words.say('memory')} ${memory === null ? words.say('unknown') : words.size(memory)}`];
  if (usage.devices.length) {
    const busy = usage.devices.map(one => one.utilisation);
    const known = busy.filter(one => one !== null);
    const mean = known.reduce((sum, one) => sum + one, 0) / known.length;
    parts.push(`${words.say('gpu')} ${known.length < busy.length ? words.say('unknown') : words.share(mean)}`);
  }
  return parts.join(' · ');
}

/** The share of its memory that is used; null is unknown. */
export function memoryShare(usage: Usage | null): number | null {
  return usage === null ? null : share(usage.memory_used_mb, usage.memory_mb);
}

/** Every meter of this server. */
export function meters(usage: Usage | null, words: Words): HTMLElement {
  const rows = usage === null ? [] : rowsOf(usage, words);
  if (!rows.length) {
    return h('p', { class: 'dure-lab-quiet' }, words.say('unknown'));
  }
  return h('div', { class: 'dure-lab-meters' }, ...rows.map(bar));
}

function rowsOf(usage: Usage, words: Words): Row[] {
  const sized = (used: number | null, whole: number | null): string =>
    used === null
      ? words.say('unknown')
      : whole
        ? words.say('of', { used: words.size(used), whole: words.size(whole) })
        : words.size(used);
  const cores = usage.cpu_used === null ? null : words.cores(usage.cpu_used);
  const ofDevice = (device: Device): Row[] => [
    {
      label: device.mig === null ? device.name : `${device.name} · ${device.mig}`,
      text: device.utilisation === null ? words.say('unknown') : words.share(device.utilisation),
      part: device.utilisation,
      ...(device.share < 1000 ? { note: words.say('shared') } : {})
    },
    {
      label: words.say('gpuMemory'),
      text: sized(device.memory_used_mb, device.memory_mb),
      part: share(device.memory_used_mb, device.memory_mb)
    }
  ];
  return [
    {
      label: words.say('memory'),
      text: sized(usage.memory_used_mb, usage.memory_mb),
      part: share(usage.memory_used_mb, usage.memory_mb)
    },
    {
      label: words.say('processors'),
      text: cores === null ? words.say('unknown') : words.say('of', { used: cores, whole: words.cores(usage.cpu_cores) }),
      part: share(usage.cpu_used, usage.cpu_cores)
    },
    ...usage.devices.flatMap(ofDevice)
  ];
}

function bar({ label, text, part, note }: Row): HTMLElement {
  const full = part === null ? 0 : Math.min(Math.max(part, 0), 1);
  const fill = h('span', { class: 'dure-lab-fill', style: `inline-size: ${Math.round(full * 100)}%` });
  const track = h('span', { class: 'dure-lab-track', 'data-unknown': part === null, 'data-high': full >= 0.9 }, fill);
  return h(
    'div',
    { class: 'dure-lab-meter' },
    h('span', { class: 'dure-lab-label' }, label),
    h('span', { class: 'dure-lab-figure' }, text),
    track,
    note ? h('span', { class: 'dure-lab-note' }, note) : null
  );
}

function share(used: number | null, whole: number | null): number | null {
  return used === null || !whole ? null : used / whole;
}
