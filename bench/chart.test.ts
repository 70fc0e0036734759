import { expect, test } from 'bun:test';
import { drawChart, type Panel } from './chart.ts';

const panel: Panel = {
  title: '1 room x 1,000',
  unit: 'us; less is better',
  goal: 3.3,
  bars: [
    { label: 'bare Bun', value: 3, text: '3 us', isOwn: false, isBase: true },
    { label: 'Parley', value: 3.2, text: '3.2 us', isOwn: true, isBase: false },
    { label: 'R & D <slow>', value: 900, text: '900 us', isOwn: false, isBase: false },
  ],
};

const lengthsOf = (svg: string) =>
  [...svg.matchAll(/<rect class="(?:own|base|other)"[^>]* width="([\d.]+)"/g)].map((match) =>
    Number(match[1]),
  );

test('bars are as long as their values, one that dwarfs the others is cut, and it says so', () => {
  const svg = drawChart('Chart', 'today', [panel]);
  const [bare = 0, own = 0, slow = 0] = lengthsOf(svg);
  expect(own / bare).toBeCloseTo(3.2 / 3, 1);
  expect(slow).toBeLessThan(600);
  expect(svg.match(/class="cut"/g)?.length).toBe(1);
});

test('what is written into it is text, not markup', () => {
  const svg = drawChart('A & B', '<b>', [panel]);
  expect(svg).toContain('R &amp; D &lt;slow&gt;');
  expect(svg).not.toContain('<b>');
});

test('it has a goal only where there is one, and grows with its panels', () => {
  const without = drawChart('Chart', '', [{ ...panel, goal: null }]);
  expect(without).not.toContain('goal of Parley');
  const height = (svg: string) => Number(/ height="(\d+)" font/.exec(svg)?.[1]);
  expect(height(drawChart('Chart', '', [panel, panel]))).toBeGreaterThan(height(without));
});
