// Bun's server as an engine: the suite of every engine.

import { startBun } from '../gateway/engine/bun.ts';
import { engineConformance } from './conformance/engine.ts';

engineConformance('Bun', startBun);
