// What a target says of itself: a goal, the figure that was found, and by how much one misses the other. Pure.

export interface Finding {
  /** One line: what was asked for, in which shape. */
  readonly target: string;
  readonly goal: number;
  readonly figure: number;
  readonly unit: string;
  /** `below`: the figure must not be above the goal. */
  readonly side: 'below' | 'above';
  /** How it came about: CPU of the others, latencies, what else was seen. */
  readonly details: string;
  /** Something was lost, doubled or refused: then the figure does not count. */
  readonly fault: string | null;
}

export function isMet({ goal, figure, side, fault }: Finding): boolean {
  if (fault !== null) return false;
  return side === 'below' ? figure <= goal : figure >= goal;
}

export function verdictOf(finding: Finding): string {
  const { goal, figure, side, fault } = finding;
  if (fault !== null) return `does not count: ${fault}`;
  const share = side === 'below' ? figure / goal : goal / figure;
  if (isMet(finding))
    return `met, ${side === 'below' ? figureText(1 / share) : figureText(1 / share)} times over`;
  return `missed by ${figureText((share - 1) * 100)} %`;
}

/** Three digits that count. */
export function figureText(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
