// The page's few icons, drawn as strokes on a grid of 24. They are decoration: what a button does is said by its label.

const paths = {
  alert: 'M12 7.5v5.5M12 16.400v.1M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  back: 'M15 5l-7 7 7 7',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  clock: 'M12 7v5l3.200 2M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  close: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  copy: 'M9 9h10v11H9zM15 9V5H5v11h4',
  door: 'M14 4H6v16h8M10.5 12H20M17 8.5l3.5 3.5-3.5 3.5',
  down: 'M12 5v14M5.5 12.5L12 19l6.5-6.5',
  hash: 'M9.5 4L8 20M16 4l-1.5 16M4.5 9h16M3.5 15h16',
  lock: 'M6.5 11h11v8.5h-11zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  people:
    'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.3-3.600 2.800-5.5 6.5-5.5s6.200 1.900 6.5 5.5M16 4.800a3.5 3.5 0 0 1 0 6.400M18 14.900c2.100.8 3.300 2.5 3.5 5.100',
  plus: 'M12 5v14M5 12h14',
  send: 'M4.5 12h14M13 5.5l6.5 6.5-6.5 6.5',
  speech:
    'M7 5h10a3 3 0 0 1 3 3v6a3 3 0 0 1-3 3h-5.5L7.6 20v-3H7a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3zM8.5 11h.01M12 11h.01M15.5 11h.01',
} as const;

export type IconName = keyof typeof paths;

const svgNamespace = 'http://www.w3.org/2000/svg';

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(svgNamespace, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(svgNamespace, 'path');
  path.setAttribute('d', paths[name]);
  svg.append(path);
  return svg;
}
