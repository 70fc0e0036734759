// The bare engines: what a delivery costs without anything of Parley.

import { onBun, onNode, startProgram } from '../processes.ts';
import type { Stage, System } from './system.ts';

function bare(name: string, title: string, command: (stage: Stage) => Promise<string[]> | string[]): System {
  return {
    name,
    title,
    dialect: 'bare',
    spreads: false,
    check: () => Promise.resolve(null),
    async start(stage) {
      const program = await startProgram(await command(stage), { env: {}, profileDir: stage.profileDir });
      return {
        ports: [program.port],
        servers: [program.pid],
        redis: null,
        postgres: null,
        prepare: () => Promise.resolve(),
        stop: () => program.stop(),
      };
    },
  };
}

export const bareBun = bare('bare', 'bare Bun', ({ profileDir }) => onBun('bench/bare-bun.ts', profileDir));
export const bareUws = bare('bare-uws', 'bare uWebSockets.js', ({ profileDir }) =>
  onNode('bench/bare-uws.ts', profileDir),
);
