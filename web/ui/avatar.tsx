// The round picture of a user or the square one of a room: initials or a sign on a colour of its own. Decoration, so
// hidden from screen readers.

import type { Status } from '../../client/frames.ts';
import { hueOf, initials } from '../format.ts';
import { Icon, type IconName } from './icon.tsx';

const fills = [
  'bg-hue-0',
  'bg-hue-1',
  'bg-hue-2',
  'bg-hue-3',
  'bg-hue-4',
  'bg-hue-5',
  'bg-hue-6',
  'bg-hue-7',
] as const;
const sizes = {
  small: 'size-8 text-xs',
  medium: 'size-10 text-sm',
  large: 'size-16 text-xl',
} as const;

const dots: Readonly<Record<Status, string>> = {
  online: 'bg-online',
  away: 'bg-away',
  offline: 'bg-offline',
};

interface AvatarProps {
  /** What the colour is made from. */
  readonly id: string;
  readonly size?: keyof typeof sizes;
}

interface UserAvatarProps extends AvatarProps {
  readonly name: string;
  readonly status?: Status;
}

export function UserAvatar({ id, name, size = 'medium', status }: UserAvatarProps) {
  return (
    <span aria-hidden="true" className="relative flex-none select-none">
      <span
        className={`grid place-items-center rounded-full font-semibold text-white ${sizes[size]} ${fills[hueOf(id)]}`}
      >
        {initials(name)}
      </span>
      {status && (
        <span
          className={`absolute -right-0.5 -bottom-0.5 size-3 rounded-full ring-2 ring-surface ${dots[status]}`}
        />
      )}
    </span>
  );
}

export function RoomAvatar({ id, icon, size = 'medium' }: AvatarProps & { readonly icon: IconName }) {
  return (
    <span
      aria-hidden="true"
      className={`grid flex-none place-items-center rounded-xl text-white ${sizes[size]} ${fills[hueOf(id)]}`}
    >
      <Icon name={icon} className={size === 'large' ? 'size-8' : 'size-5'} />
    </span>
  );
}
