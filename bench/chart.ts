// The chart of a result: a panel a shape, a bar a system, the goal as a line. An SVG that stands alone and is legible on
// light and dark ground. Pure; main.ts writes it.

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What stands at the end of the bar. */
  readonly text: string;
  readonly isOwn: boolean;
  readonly isBase: boolean;
}

export interface Panel {
  readonly title: string;
  /** Of the values; with `more` or `less` is better. */
  readonly unit: string;
  /** Where the goal is; null: none. */
  readonly goal: number | null;
  readonly bars: readonly Bar[];
}

const width = 860;
const margin = 24;
const labelWidth = 190;
const valueWidth = 130;
const barHeight = 16;
const rowHeight = 24;
const headHeight = 72;
const panelHead = 48;
const panelGap = 20;
const plotLeft = margin + labelWidth;
const plotWidth = width - plotLeft - valueWidth - margin;
/** A bar that is longer is cut, so that the short ones can be told apart. */
const cutAt = 12;

const style = `
  .ground { fill: #ffffff } .title { fill: #111827; font-weight: 600; font-size: 18px }
  .panel { fill: #111827; font-weight: 600; font-size: 14px } .note, .unit { fill: #6b7280; font-size: 12px }
  .label { fill: #374151; font-size: 12.5px; text-anchor: end } .value { fill: #374151; font-size: 12px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
  .own-label { fill: #111827; font-weight: 600 } .rule { stroke: #e5e7eb } .goal { stroke: #b45309; stroke-dasharray: 4 3 }
  .goal-text { fill: #b45309; font-size: 12px; text-anchor: end }
  .own { fill: #0d9488 } .base { fill: #9ca3af } .other { fill: #c7d2fe } .cut { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0b1120 } .title, .panel, .own-label { fill: #f3f4f6 } .note, .unit { fill: #9ca3af }
    .label, .value { fill: #d1d5db } .value { stroke: #0b1120 } .own-label { fill: #f9fafb } .rule { stroke: #1f2937 } .goal { stroke: #f59e0b }
    .goal-text { fill: #f59e0b } .own { fill: #2dd4bf } .base { fill: #6b7280 } .other { fill: #4f5b93 } .cut { fill: #0b1120 }
  }`;

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function text(kind: string, x: number, y: number, content: string): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}">${escapeText(content)}</text>`;
}

/** What the whole width of a panel stands for. */
function scaleOf({ bars, goal }: Panel): number {
  const values = bars.map(({ value }) => value);
  const most = Math.max(...values, goal ?? 0);
  const least = Math.min(...values.filter((value) => value > 0));
  return Math.min(most, least * cutAt * 2);
}

function drawBar(
  bar: Bar,
  y: number,
  scale: number,
): { readonly shapes: string[]; readonly texts: string[] } {
  const length = Math.max(2, (Math.min(bar.value, scale) / scale) * plotWidth);
  const kind = bar.isOwn ? 'own' : bar.isBase ? 'base' : 'other';
  const baseline = y + barHeight - 4;
  const shapes = [
    `<rect class="${kind}" x="${plotLeft}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="3"/>`,
  ];
  if (bar.value > scale * 1.001) {
    const x = plotLeft + length - 26;
    const high = barHeight + 2;
    shapes.push(`<path class="cut" d="M${x} ${y + barHeight + 1}l6 -${high}h5l-6 ${high}z"/>`);
  }
  const texts = [
    text(bar.isOwn ? 'label own-label' : 'label', plotLeft - 10, baseline, bar.label),
    text('value', plotLeft + length + 8, baseline, bar.text),
  ];
  return { shapes, texts };
}

function drawPanel(panel: Panel, top: number): string[] {
  const scale = scaleOf(panel);
  const bottom = top + panelHead + panel.bars.length * rowHeight;
  const parts = [
    `<line class="rule" x1="${margin}" x2="${width - margin}" y1="${top}" y2="${top}"/>`,
    text('panel', margin, top + 22, panel.title),
    text('unit', margin, top + 39, panel.unit),
  ];
  const bars = panel.bars.map((bar, i) => drawBar(bar, top + panelHead + i * rowHeight, scale));
  parts.push(...bars.flatMap(({ shapes }) => shapes));
  const { goal } = panel;
  if (goal !== null && goal <= scale) {
    const x = (plotLeft + (goal / scale) * plotWidth).toFixed(1);
    const right = width - margin;
    parts.push(
      `<line class="goal" x1="${x}" x2="${x}" y1="${top + panelHead - 5}" y2="${bottom - 3}"/>`,
      `<line class="goal" x1="${right - 122}" x2="${right - 96}" y1="${top + 35}" y2="${top + 35}"/>`,
      text('goal-text', right, top + 39, 'goal of Parley'),
    );
  }
  return [...parts, ...bars.flatMap(({ texts }) => texts)];
}

const heightOf = ({ bars }: Panel) => panelHead + bars.length * rowHeight + panelGap;

/** `note`: where and when it was measured. */
export function drawChart(title: string, note: string, panels: readonly Panel[]): string {
  const height = headHeight + panels.reduce((sum, panel) => sum + heightOf(panel), 0);
  const parts = [text('title', margin, 34, title), text('note', margin, 56, note)];
  let top = headHeight;
  for (const panel of panels) {
    parts.push(...drawPanel(panel, top));
    top += heightOf(panel);
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif" role="img">`,
    `<title>${escapeText(title)}</title>`,
    `<style>${style}\n</style>`,
    `<rect class="ground" width="${width}" height="${height}" rx="8"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}
