// The conversation as a script that leaves one function behind, for a platform that is a bare engine with a few globals.

import { converse } from './conversation.ts';

Object.assign(globalThis, { converse });
