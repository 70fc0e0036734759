// Keeps what `bun test` printed of the tests that failed, so that the end of a long report says why. Used by test.mjs.

const linesOfOneMax = 40;
const failuresMax = 12;

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours of a terminal
const colours = /\u001b\[[0-9;]*m/g;
const endOfTest = /^\((pass|fail|skip|todo)\) /;
/** The line before the first test of a file, and the summary behind its last one. */
const edgeOfFile = /^(\S+\.test\.tsx?:$| *\d+ (pass|fail)$|Ran \d+ tests? across )/;
/** Above the names of those that failed, once more, in the summary of a run. */
const listOfFailed = /^\d+ tests? failed:$/;
/** What Bun prints above an error that belongs to no test. */
const outsideOfTests = /^# Unhandled error/;

/** Gathers the failures of several runs of `bun test`, from text as it comes, in pieces of any size. */
export function createFailures() {
  let title = '';
  let rest = '';
  /** The lines since the last test ended. */
  let block = [];
  let isSummary = false;
  const found = [];

  const keep = (...last) => {
    found.push([`${title}:`, ...block.slice(-linesOfOneMax), ...last]);
  };
  const takeLine = (line) => {
    const plain = line.replace(colours, '');
    if (listOfFailed.test(plain)) isSummary = true;
    else if (isSummary) return;
    else if (plain.startsWith('(fail) ')) {
      keep(plain);
      block = [];
    } else if (endOfTest.test(plain) || edgeOfFile.test(plain)) {
      if (block.some((kept) => outsideOfTests.test(kept))) keep();
      block = [];
    } else if (plain.trim() !== '') {
      block.push(plain);
      if (block.length > 2 * linesOfOneMax) block.splice(0, linesOfOneMax);
    }
  };

  return {
    begin(nextTitle) {
      title = nextTitle;
      rest = '';
      block = [];
      isSummary = false;
    },
    take(text) {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) takeLine(line);
    },
    /** A run that failed as a whole: with the last lines that it printed. */
    note: (reason) => keep(reason),
    /** What to print: the first failures with their lines, of the others how many there are. */
    lines() {
      const shown = found.slice(0, failuresMax).flatMap((lines) => [...lines, '']);
      const left = found.length - failuresMax;
      return left > 0 ? [...shown, `and ${left} more`] : shown;
    },
  };
}
