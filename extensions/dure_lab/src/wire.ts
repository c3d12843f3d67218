// What the server's own addresses answer: the portal's wire types, as far as pages use them. Null is unknown.

export interface Lease {
  profile: string;
  rate: number | null; // micro-units an hour
  until: string | null;
}

export interface Environment {
  name: string;
  profile: string;
  phase: string;
  lease: Lease | null;
  idle_end: string | null;
  extendable_until: string | null;
}

export interface Device {
  uuid: string;
  name: string;
  mig: string | null;
  share: number; // thousandths; below 1000 the figures are the whole GPU's
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

export interface Look {
  environment: Environment;
  usage: Usage | null;
  now: string | null;
}
