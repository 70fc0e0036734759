// The page's icons, drawn as strokes on a grid of 24. They are decoration: what a button does is said by its label.

const paths = {
  alert: 'M12 7.5v5.5M12 16.4v.1M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  back: 'M15 5l-7 7 7 7',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  checks: 'M2.5 12.5l4 4.5L15 8M11.5 16l1 1L21.5 8',
  clip: 'M18.5 11.5l-7 7a4.2 4.2 0 0 1-6-6l7.5-7.5a2.8 2.8 0 0 1 4 4L9.5 16.5a1.4 1.4 0 0 1-2-2l6.5-6.5',
  clock: 'M12 7v5l3.2 2M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  close: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  copy: 'M9 9h10v11H9zM15 9V5H5v11h4',
  door: 'M14 4H6v16h8M10.5 12H20M17 8.5l3.5 3.5-3.5 3.5',
  down: 'M12 5v14M5.5 12.5L12 19l6.5-6.5',
  edit: 'M4.5 19.5l.8-4L15.8 5a2 2 0 0 1 2.8 0l.4.4a2 2 0 0 1 0 2.8L8.5 18.7zM14 7l3 3',
  hash: 'M9.5 4L8 20M16 4l-1.5 16M4.5 9h16M3.5 15h16',
  info: 'M12 11v5.5M12 7.6v.1M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1',
  lock: 'M6.5 11h11v8.5h-11zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  mute: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5',
  people:
    'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.3-3.6 2.8-5.5 6.5-5.5s6.2 1.9 6.5 5.5M16 4.8a3.5 3.5 0 0 1 0 6.4M18 14.9c2.1.8 3.3 2.5 3.5 5.1',
  person: 'M12 11.5a3.8 3.8 0 1 0 0-7.5 3.8 3.8 0 0 0 0 7.5zM4.5 20c.4-3.8 3.3-5.8 7.5-5.8s7.1 2 7.5 5.8',
  plus: 'M12 5v14M5 12h14',
  reply: 'M9.5 6L4 11.5 9.5 17M4.5 11.5H14c3.5 0 6 2.2 6 6.5',
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20',
  send: 'M4.5 12h14M13 5.5l6.5 6.5-6.5 6.5',
  shield: 'M12 3.5l7 2.5v5.5c0 4.5-2.8 7.5-7 9-4.2-1.5-7-4.5-7-9V6z',
  smile:
    'M8.5 14c.8 1.3 2 2 3.5 2s2.7-.7 3.5-2M9 9.6v.1M15 9.6v.1M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
  speech:
    'M7 5h10a3 3 0 0 1 3 3v6a3 3 0 0 1-3 3h-5.5L7.6 20v-3H7a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3zM8.5 11h.01M12 11h.01M15.5 11h.01',
  trash: 'M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v5.5M13.5 10.5v5.5',
} as const;

export type IconName = keyof typeof paths;

/** `className` sets the size, which is 20 px else. */
export function Icon({
  name,
  className = 'size-5',
}: {
  readonly name: IconName;
  readonly className?: string;
}) {
  return (
    <svg
      viewBox="0 0 24 24"
      aria-hidden="true"
      className={`block flex-none fill-none stroke-current ${name === 'more' ? 'stroke-3' : 'stroke-[1.8]'} ${className}`}
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={paths[name]} />
    </svg>
  );
}
