// The suite of every engine over uWebSockets.js. Built for Node and run there by tests/engine-uws.test.ts.

import { startUws } from '../../gateway/engine/uws.ts';
import { engineConformance } from './engine.ts';

engineConformance('uWebSockets.js', startUws);
