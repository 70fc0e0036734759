// What the HTTP routes are given by main.ts.

import type { Clock, Random } from '../../core/clock.ts';
import type { Status } from '../../core/protocol/frames.ts';
import type { Auth } from '../auth.ts';
import type { Config } from '../config.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics.ts';
import type { Rooms } from '../rooms.ts';
import type { Store } from '../store/store.ts';

export interface HttpParts {
  readonly config: Pick<
    Config,
    'serverId' | 'allowedOrigins' | 'trustProxy' | 'maxContentBytes' | 'assetBaseUrl'
  >;
  readonly store: Store;
  readonly auth: Auth;
  readonly rooms: Pick<
    Rooms,
    'access' | 'message' | 'create' | 'send' | 'history' | 'setMember' | 'removeMember' | 'update' | 'heads'
  >;
  /** Statuses in the order asked for. */
  readonly presence: { statuses(users: readonly string[]): Promise<readonly Status[]> };
  /** Closes the sockets of a login with 4501. */
  closeSession(session: string): void;
  readonly metrics: Pick<Metrics, 'countRequest' | 'refusals' | 'expose' | 'contentType' | 'socketsOpen'>;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** `fault`: null, or why events cannot be appended. `degraded`: null, or what is away although chat goes on. */
  readonly health: { draining(): boolean; fault(): string | null; degraded(): string | null };
  readonly version: string;
  /** The folder of the built page. */
  readonly webDir: string;
}
