// Where no room is open: what to do.

import { Icon } from '../ui/icon.tsx';

export function NothingOpen() {
  return (
    <div className="grid h-full place-items-center p-6 text-center">
      <div className="flex flex-col items-center gap-2">
        <span className="grid size-14 place-items-center rounded-2xl bg-sunken text-muted">
          <Icon name="speech" className="size-8" />
        </span>
        <h2 className="mt-2 text-lg font-semibold">Pick a room</h2>
        <p className="text-muted">Choose one on the left, or make a new one with the plus.</p>
      </div>
    </div>
  );
}
