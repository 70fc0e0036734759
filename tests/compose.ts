// docker-compose.yml as Docker would understand it, for tests that run its commands and environment with the servers
// installed here: variables filled in, YAML read. Knows the three forms of variables that the file uses.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const composeFile = join(import.meta.dir, '..', 'docker-compose.yml');

export interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly restart?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[]; readonly retries: number };
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly deploy?: { readonly replicas: number };
  readonly stop_grace_period?: string;
  readonly stop_signal?: string;
  readonly ulimits?: { readonly nofile: number };
}

export interface Compose {
  readonly services: Readonly<Record<'haproxy' | 'gateway' | 'redis' | 'postgres', ComposeService>>;
  readonly volumes: Readonly<Record<string, null>>;
}

/** The secrets that .env has to hold. */
export const composeSecrets = {
  JWT_SECRET: 'a secret of the compose file in tests',
  POSTGRES_PASSWORD: '0123456789abcdef',
  REDIS_PASSWORD: 'fedcba9876543210',
};

/** Throws, as Docker does, where a variable that must be set is not. */
export function readCompose(env: Readonly<Record<string, string>>): Compose {
  return Bun.YAML.parse(fillIn(readFileSync(composeFile, 'utf8'), env)) as Compose;
}

function fillIn(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(
    /\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})/g,
    (_match, dollar, name, operator, rest) => {
      if (dollar !== undefined) return '$';
      const value = env[name];
      if (value !== undefined && value !== '') return value;
      if (operator === '?') throw new Error(`required variable ${name} ${rest}`);
      return operator === '-' ? rest : '';
    },
  );
}

/** A healthcheck's command, for Bun.spawn. */
export function healthCommand({ healthcheck }: ComposeService): string[] {
  const [kind, ...command] = healthcheck?.test ?? [];
  return kind === 'CMD-SHELL' ? ['/bin/sh', '-c', ...command] : command;
}
