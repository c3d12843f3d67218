// What the server's own addresses answer: the portal's wire types, as far as pages use them. Null is unknown.

export interface Lease {
  profile: string;
  rate: number | null; // micro-units an hour
  until: string | null;
}

export interface Environment {
  name: string;
  owner: string;
  profile: string;
  phase: string;
  lease: Lease | null;
  idle_end: string | null;
  extendable_until: string | null;
  notice?: Record<string, string> | null; // what its owner should know of its GPU, by language
  stop_at?: string | null; // when an administrator ends it
  stop_text?: Record<string, string> | null;
}

export interface Device {
  uuid: string;
  name: string;
  mig: string | null;
  share: number; // thousandths; below 1000 the figures are this server's own of a GPU that others use, too
  memory_mb: number | null;
  memory_used_mb: number | null;
  utilisation: number | null; // from 0 to 1
}

export interface Usage {
  at: string;
  cpu_cores: number;
  memory_mb: number;
  cpu_used: number | null;
  memory_used_mb: number | null;
  devices: Device[];
}

export interface Notice {
  id: string;
  kind: string;
  thing: string;
  text: Record<string, string>;
}

export interface Look {
  environment: Environment;
  usage: Usage | null;
  notices?: Notice[] | null; // unread ones, the newest first
  now: string | null;
}

export interface Output {
  output_type: string;
  transient?: { display_id?: string };
  [name: string]: unknown;
}

/** What a page before this one has asked for. Messages named in `seen`, and all before `since`, are in `outputs`. */
export interface Execution {
  id: string;
  cell: string;
  code: string;
  outputs: Output[];
  count: number | null;
  ended: boolean;
  missed: boolean; // it is this page's own, which was away when it ended
  since: string;
  seen: string[];
}

export interface TakenOver {
  executions: Execution[];
  written_at: string | null;
}
