// Passwords of Parley's own accounts, as argon2id. Hashing costs some 20 ms and 19 MiB each, on other threads, so both
// how many run and how many wait are bounded. Called by http/accounts.ts; never logs anything.

import { availableParallelism } from 'node:os';
import { hash, verify } from '@node-rs/argon2';

/** Hashes that may wait for their turn; one more is refused. */
const passwordsWaitingMax = 1000;
/** Hashes that run at once: the cores, within these bounds. */
const concurrentMin = 2;
const concurrentMax = 4;

/** What one guess costs an attacker. In argon2's words: KiB of memory, passes over it, lanes. */
export interface PasswordCost {
  readonly memoryCost: number;
  readonly timeCost: number;
  readonly parallelism: number;
}

const passwordCost: PasswordCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export interface Passwords {
  /** Null where too many wait already. */
  hash(password: string): Promise<string | null>;
  /**
   * Whether the password has this hash; null where too many wait already. `passwordHash` null (there is no such user)
   * is false, after as long as a wrong password takes.
   */
  verify(passwordHash: string | null, password: string): Promise<boolean | null>;
}

export function createPasswords(
  cost: PasswordCost = passwordCost,
  waitingMax = passwordsWaitingMax,
): Passwords {
  const concurrent = Math.min(Math.max(availableParallelism(), concurrentMin), concurrentMax);
  const waiting: (() => void)[] = [];
  let running = 0;

  async function runBounded<T>(task: () => Promise<T>): Promise<T | null> {
    if (running >= concurrent) {
      if (waiting.length >= waitingMax) return null;
      // The place is handed on by whoever finishes, so `running` does not change in between.
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else running++;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  }

  const nobody = hashOfNobody(cost);
  return {
    hash: (password) => runBounded(() => hash(password, cost)),
    verify: (passwordHash, password) => runBounded(() => verify(passwordHash ?? nobody, password)),
  };
}

/** A well-formed hash at the given cost that no password has: its digest is all zeros. */
function hashOfNobody(cost: PasswordCost): string {
  const { memoryCost, timeCost, parallelism } = cost;
  const salt = 'A'.repeat(22);
  const digest = 'A'.repeat(43);
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${digest}`;
}
