// A reporter for `node --test`: a line of JSON for each test that ended. Read by tests/engine-uws.test.ts.

import { inspect } from 'node:util';

// biome-ignore lint/style/noDefaultExport: Node asks for it.
export default async function* reportLines(events) {
  /** Titles from the outermost suite to the test that runs. */
  const titles = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') titles.splice(data.nesting, titles.length, data.name);
    const isEnd = type === 'test:pass' || type === 'test:fail';
    if (!isEnd || data.details.type === 'suite') continue;
    const title = [...titles.slice(0, data.nesting), data.name].join(' > ');
    const error = type === 'test:fail' ? inspect(data.details.error.cause ?? data.details.error) : null;
    yield `${JSON.stringify({ title, error })}\n`;
  }
}
