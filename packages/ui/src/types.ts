// The results of the RPC that this page shows (docs/protocol/openrpc.json).

export interface Status {
  node: string;
  version: string;
  addrs: string[];
  health: { state: string; reason: string | null };
  up_seconds: number;
  topics: number;
  logs_blocked: number;
  peers: number;
  peers_connected: number;
  sessions: number;
  sessions_live: number;
  renewal_due?: boolean;
}

export interface Peer {
  node: string;
  addrs: string[];
  relays: string[];
  connected: boolean;
  relayed: boolean;
  rtt_us: number | null;
  state: string;
  why: string | null;
  sessions: number;
  topics_shared: number;
}

export interface Topic {
  topic: string;
  logs: number;
  operations: number;
  bytes: number;
  first: number | null;
  last: number | null;
  waiting: number;
  rejected: Record<string, number>;
  forks: number;
  blocked: number;
  own_log_closed: boolean;
  consumers: string[];
  not_kept: NotKept[];
}

/** A log of which another node keeps nothing new, because a quota of that node is used up. */
export interface NotKept {
  node: string;
  author: string;
  named: boolean;
  from: number;
  quota: string;
}

export interface TopicPeer {
  node: string;
  live: boolean;
  unsent: number;
  stores_own: number | null;
}

export interface Rejected {
  row: number;
  id: string;
  reason: string;
  peer: string | null;
  at: number;
}

export interface Fork {
  author: string;
}

export interface Consumer {
  name: string;
  positions: { topic: string; position: number; open: number }[];
  readers: number;
  paused: boolean;
  full_of_dead: boolean;
  in_flight: number;
  dead: number;
}

export interface Lag {
  consumer: Consumer;
  lag_messages: number;
  lag_bytes: number;
  oldest_ms: number | null;
}

export interface DeadLetter {
  number: number;
  topic: string;
  offset: number;
  id: string | null;
  reason: string;
  said: string | null;
  count: number;
}

export interface Trace {
  id: string;
  topic: string;
  author: string | null;
  seq: number | null;
  state: string;
  reason: string | null;
  missing: { author: string; seq: number }[];
  offset: number | null;
  received: { peer: string; at: number }[];
  consumers: Record<string, boolean>;
  sent_to: string[];
  stored_by: string[];
  not_kept: NotKept[];
}

export interface NodeEvent {
  event: string;
  topic?: string;
  peer?: string;
  detail?: string;
}
