// Writes docs/configuration.md and .env.example from the schema in gateway/config.ts: `npm run docs:config`. Its test
// fails where the files differ from what this gives.

import { writeFileSync } from 'node:fs';
import { settingGroups } from '../gateway/config.ts';

const head = `# Configuration

Made by \`npm run docs:config\` from \`gateway/config.ts\`; do not edit it by hand.

Settings are environment variables, or lines of a file \`.env\` in the folder where the gateway is started
(\`.env.example\` has them all). An empty value counts as unset. A value that cannot be, or that does not fit another
one, stops the start with one line that names the variable. \`npm start -- --help\` prints this table,
\`npm start -- --print-config\` the settings as the process sees them, with secrets masked.

\`REDIS_URL\` needs \`DATABASE_URL\`, as does \`DATABASE_REPLICA_URL\`. \`TLS_CERT\` and \`TLS_KEY\` need each other.
\`MAX_CONTENT_BYTES\` must be less than \`MAX_FRAME_BYTES\`.
`;

/** docs/configuration.md. */
export function configMarkdown(): string {
  const parts = settingGroups.map(({ title, settings }) => {
    const rows = settings.map(({ env, expected, defaultText, sentence, secret }) =>
      [`\`${env}\``, cell(sentence) + (secret ? ' Secret.' : ''), cell(expected), cell(defaultText)].join(
        ' | ',
      ),
    );
    const lines = ['Variable | Meaning | Value | Default', '--- | --- | --- | ---', ...rows];
    return `\n## ${title}\n\n${lines.map((line) => `| ${line} |`.replaceAll('  ', ' ')).join('\n')}\n`;
  });
  return head + parts.join('');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('*', '\\*');
}

/** .env.example: every line a comment, so that a copy changes nothing. */
export function envExample(): string {
  const lines = [
    '# Settings of Parley: copy to .env and remove the # of what is to differ. See docs/configuration.md.',
  ];
  for (const { title, settings } of settingGroups) {
    lines.push('', `# ${title}`);
    for (const { env, sentence, expected, defaultText, isComputed } of settings) {
      const note = isComputed ? ` Default: ${defaultText}.` : '';
      lines.push('', `# ${sentence} (${expected})${note}`, `#${env}=${isComputed ? '' : defaultText}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

if (import.meta.main) {
  writeFileSync(new URL('../docs/configuration.md', import.meta.url), configMarkdown());
  writeFileSync(new URL('../.env.example', import.meta.url), envExample());
}
