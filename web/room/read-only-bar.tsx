// In the place of the composer, where one may not write: why.

import { Icon } from '../ui/icon.tsx';

export function ReadOnlyBar({ reason }: { readonly reason: string }) {
  return (
    <p
      role="status"
      className="mx-4 mb-4 flex items-center justify-center gap-2 rounded-2xl bg-sunken px-4 py-3 text-sm text-muted"
    >
      <Icon name="lock" className="size-4" />
      {reason}
    </p>
  );
}
